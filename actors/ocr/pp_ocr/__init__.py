"""PP-OCR: one network detects lines, another recognises their text.

line_reader.py                  shared by RapidOCR and PaddleOCR: decode, detect, crop, recognise
detection.py, ink.py            lines from a probability map; ink outside the lines
orientation.py                  the direction of a turned page
packing.py, shapes.py           batches of line crops with little padding and few sizes
engines.py, openvino_graphs.py  OpenVINO and ONNX Runtime behind one interface
latin.py                        the characters of `alphabet: latin`
paddle_models.py                the networks of rapidocr's wheel in PaddleOCR's layout
"""
