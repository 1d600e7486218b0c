"""Take an old text layer out of a PDF, so that copying gives one text. Child process only.

finding.py    which text of a page is not seen, with pdfium
streams.py    the page's content without it, with pikepdf
operators.py  the operators that show text
fonts.py      fonts whose text is copied as blanks, for text that is seen and says something else
editing.py    the edited document
removing.py   all of it for one document; a page that would look different stays as it was

Why pikepdf: pdfium can remove text objects, but it then writes the whole page anew, without
shadings, patterns, inline images, CMYK colours and the spacing of characters, and it cannot do it
inside form XObjects (tried with pdfium 159). pikepdf changes the one operator.
"""
