"""Which script the lines of a page are in, and what of it the page's reader cannot read.

classes.py      classes of the classifier; what a reader reads (`Alphabet`)
windows.py      line crops -> windows of 32 x 128 pixels
network.py      the network, with NumPy; weights.npz
ink.py          the width of a line's ink; rows of one mark
page.py         the scripts of a page's lines, and the shares that were not read
recipe/         words, rendered lines, training
"""
