"""Objects in Google Cloud Storage and in Azure Blob Storage, by obstore.

client.py     reads, listings and writes
stores.py     obstore's stores with our settings and credentials
errors.py     names for obstore's faults
"""
