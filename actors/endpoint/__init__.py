"""Models behind HTTP.

settings.py, request.py   the endpoint's config, and the interface of a request
client.py                 one request: concurrency limit, retries, circuit breaker, budget
trial.py                  an empty page: does the endpoint refuse everybody?
completion.py, loops.py   parses an answer; detects repetition in it
actor.py, background.py   base class of actors that call an endpoint
vision_language.py        the model on the server's side: `nightjar serve vlm`
"""
