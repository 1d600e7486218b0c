"""Text readers: they turn pages into text lines with scores.

rapid_ocr.py, paddle_ocr.py   PP-OCR; shared code is in pp_ocr/
tesseract/                    Tesseract 5: PP-OCR's lines, read with Tesseract's networks
scripts/                      the script of lines and pages, and what of it was not read
surya.py, blocks.py           Surya, which runs behind its own server
"""
