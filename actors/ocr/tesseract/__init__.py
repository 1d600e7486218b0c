"""Tesseract 5 as a text reader.

reader.py          the actor: PP-OCR's lines, read by Tesseract
language_data.py   where the language data are, and Debian's packages for them
"""
