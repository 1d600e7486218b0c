"""A run directory, on a disk or in a bucket.

directory.py                 layout and lock
store.py                     the interface of a store
local_store.py               a run on a disk
bucket_store.py, lease.py    a run in a bucket, and the lease that replaces the lock
shards.py                    finished rows, and rows still to do
damaged.py                   files that cannot be read, moved to damaged/
retrying.py                  failed rows that are owed again
session.py, versions.py      the record of one session in run.json
refetch.py                   fetches pages of finished rows again
"""
