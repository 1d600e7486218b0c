"""The text layer of a PDF page: measurements for `pipelines.pages.native_text`. Child process only.

read.py         all of it for one page
lines.py        the lines and their boxes
visibility.py   which characters are drawn but not seen
ink.py          the ink of the page, and how much of it the lines cover
"""
