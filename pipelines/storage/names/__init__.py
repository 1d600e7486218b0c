"""Names of members of archives.

members.py   what the archive states, else a codec for all of them
codecs.py    which codec fits them best
"""
