"""Documents -> upright page images, or the text layer that they came with.

fetch.py, read_ahead.py             the actor `PageFetcher`, and reading ahead of it
sandbox.py, sandbox_child.py        decoding in a process that can be killed
render.py, image.py, pdf.py         the decoders; they run inside the child only
pdf_text.py, native_text.py         a PDF's text layer: measured, then judged
"""
