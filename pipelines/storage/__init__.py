"""Local files, buckets and archives behind one client.

client.py, objects.py         `Storage`; URIs, settings and retries that all backends share
local.py, walk.py             local files; listing a folder tree
bucket.py, s3.py              what every object store can do; objects in S3
cloud/                        objects in Google Cloud and Azure
remote_file.py                an object as a seekable file
archives/                     members of zip and tar files, local or in a bucket
paths.py, output_errors.py    paths of a run directory, local or in a bucket; write errors
local_copies.py               local copies of models in a bucket
outage.py                     whose fault is a failed read; waits while a source is down
"""
