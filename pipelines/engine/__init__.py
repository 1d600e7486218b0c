"""Everything that knows Ray.

cluster.py, joined_cluster.py        start a cluster, or join one
pools.py, environments.py            how many workers fit; engines with an environment of their own
stream.py                            rows through a Flow as a Ray Data stream
worker.py, scoreboard*.py            runs actors on batches; knows which rows were in flight
waves.py, committer.py               the driver's loop: blocks -> committed shards
progress.py, metrics.py              what is shown, and what Prometheus reads
"""
