"""All code that uses Ray.

cluster.py, joined_cluster.py        start a cluster, or join one
sizes/                               how many workers and how large batches fit
environments.py                      isolated Python environments
stream.py                            sends rows through a Flow as a Ray Data stream
workers/                             runs actors on batches, in worker processes; what they report
waves.py, committer.py               the driver's loop: blocks -> committed shards
breaker.py                           stops a run in which too many rows fail
stopping.py, scheduling.py           ends a run after a signal
progress.py, metrics.py              numbers for the display, and for Prometheus
native_log.py                        redirects stderr of C++ code to native.log
"""
