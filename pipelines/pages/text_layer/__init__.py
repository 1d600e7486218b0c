"""The text layer of a PDF page: measurements for `pipelines.pages.native_text`. Child process only.

read.py         all of it for one page
lines.py        the lines and their boxes
visibility.py, drawn.py, overlaps.py    which characters are drawn but not seen
ink.py          pictures of the page; the ink that annotations draw
unread.py       text that the page shows and the layer lacks
letter_rows.py, letter_shapes.py    rows of letters in a picture
fonts/         fonts that draw other letters than their text says
"""
