"""What runs in the worker processes, and what they report.

worker.py                            runs an actor on batches; finds the row that it cannot read
fitness.py                           tells such a row from a worker that can read no row at all
device.py                            its part of the GPU's memory; whether the GPU is lost to it
scoreboard.py, scoreboard_link.py    progress, and the rows in flight when a worker dies
"""
