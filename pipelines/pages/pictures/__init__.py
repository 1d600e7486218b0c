"""Decoders of image formats. They run only in the sandbox's child.

picture.py      the value that the decoders give
samples.py      pictures of more than 8 bits, and such TIFFs, to 8 bits
levels.py       the one rule that maps such samples to 8 bits
tiff.py         which frames of a TIFF are pages
tiff_samples.py samples of a TIFF page, for the forms that Pillow does not read
jpeg2000.py     size and depth of a JPEG 2000 file, and its samples
checks.py       faults and rare forms of JPEG and PNG
heic.py         HEIC, if the extra is installed
colours.py      alpha, ink, Lab and orientation to upright gray or BGR
resolution.py   pixels per inch in both directions
"""
