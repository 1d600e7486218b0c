"""PP-OCR: one network finds lines, another reads them.

line_reader.py                      shared by RapidOCR and PaddleOCR: decode, find, crop, read
detection.py, ink.py                lines from a probability map; ink that no line explains
packing.py, shapes.py               line crops in batches with little padding, in few sizes
engines.py, openvino_graphs.py      OpenVINO and ONNX Runtime behind one interface
paddle_models.py                    the networks of rapidocr's wheel, laid out for PaddleOCR
"""
