"""Text readers: pages in, lines with scores out.

rapid_ocr.py, paddle_ocr.py   PP-OCR: pp_ocr/ holds what both share
surya.py, blocks.py            Surya, behind its own server
"""
