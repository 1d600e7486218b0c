"""Fonts that draw other letters than their text says: outlines are compared with templates.

check.py        the wrong fonts of a page
drawn.py        the glyphs that a page draws, by pdfium
painted.py      the same for Type 3 fonts, cut out of the rendered page
outlines.py     outlines -> vectors
templates.py    a glyph against the claimed character and all others
verdict.py      a font, by the evidence of its glyphs
alphabets.py    which characters have templates, and which are alike
recipe.py       bakes templates.npz; no reader imports it
"""
