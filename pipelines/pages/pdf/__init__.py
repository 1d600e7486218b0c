"""PDF documents, with pypdfium2 and pikepdf. Child process only.

rendering.py      one page: its text layer if accepted, else its image, or both
page_size.py      pixels of a page, from its own pictures or the dpi of the config
matrix.py         of a page object
user_unit.py      the unit of a page's coordinates
dynamic_form.py   placeholders of XFA forms
attachments.py    files attached to a PDF
"""
