"""A run directory, on a disk or in a bucket.

directory.py                             its layout and its lock
store.py, local_store.py, bucket_store.py   what a store must offer, and the two stores
lease.py                                 who may commit to a run in a bucket
shards.py                                rows that are done; rows that are owed
refetch.py                               pages of finished rows, fetched again
"""
