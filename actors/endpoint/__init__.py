"""Models behind HTTP.

settings.py, request.py            which endpoint, and what it can be asked
client.py                          one request: slots, retries, circuit breaker, budget
completion.py, loops.py            reading an answer; finding repetition in it
actor.py, background.py            an actor that asks instead of computing
vision_language.py                 the model that answers: `nightjar serve vlm`
"""
