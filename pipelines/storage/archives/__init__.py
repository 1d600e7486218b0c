"""Archives: their members are read in place.

archive.py         members of zips and tars
zip_directory.py   a zip's own list of members, before zipfile parses it
containers.py      zips that are documents of other programs
member_names.py    names: what the archive states, else a code page for all of them
code_pages.py      which code page fits them best
"""
