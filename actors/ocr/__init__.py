"""Text readers: pages in, lines with scores out.

rapid_ocr.py, paddle_ocr.py   PP-OCR networks; line_reader.py holds what both share
surya.py                      Surya, behind its own server
"""
