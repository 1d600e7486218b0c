"""Local files, S3 and archives behind one client.

client.py, objects.py      `Storage`, and what all backends share
local.py, s3.py            the two backends; archives.py: members of zip and tar in either
paths.py                   paths of a run directory, local or in a bucket
local_copies.py            models in a bucket as local files
outage.py                  waits while a store is down
"""
