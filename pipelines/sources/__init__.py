"""The source of a run: list files, count their pages, write a manifest with one row per page.

listing.py, uri_list.py   a folder, glob or bucket prefix; or a file that lists URIs
inspection.py             opens archives, finds the kind of each file, counts pages
manifest.py               the frozen list of rows
unreadable.py             stops planning if too much cannot be read
"""
