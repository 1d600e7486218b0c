"""Documents -> upright page images, or the text layer of a PDF page.

fetch.py, read_ahead.py             the actor `PageFetcher`; reads documents in advance
sandbox.py, sandbox_child.py        decoding in a child process that can be killed
page.py, notes.py                   types of a page; kind of a file by its first bytes
render.py, image.py, pdf/, pictures/ the decoders; they run only in the child
attached.py                         files attached to a PDF, as both sides know them
text_layer/, native_text.py         a PDF's text layer: measurements, then the decision
"""
