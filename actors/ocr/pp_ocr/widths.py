"""Full-width forms in lines of Latin text.

PP-OCR learned from Chinese pages. In lines of Latin text it reads some marks in their full-width
forms, most often the colon (U+FF1A) and the comma (U+FF0C).
"""

from __future__ import annotations

import re
import unicodedata

#: Fullwidth forms and signs (U+FF01 to U+FF5E, U+FFE0 to U+FFE6), the ideographic blank, comma and
#: full stop.
_WIDE = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFF01, 0xFF5F)}
_WIDE |= dict(zip(range(0xFFE0, 0xFFE7), "¢£¬¯¦¥₩", strict=True))
_WIDE |= {0x3000: " ", 0x3001: ",", 0x3002: "."}
_HAS_WIDE = re.compile(f"[{''.join(map(chr, _WIDE))}]")
#: Han, kana (also halfwidth), bopomofo and Hangul: the scripts with wide characters.
_EAST_ASIAN = re.compile(
    "[\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u303b\u3041-\u318f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff65-\uffdc"
    "\U00020000-\U000323af]"
)


def has_east_asian(text: str) -> bool:
    """Whether a character of `text` is Han, kana, bopomofo or Hangul."""
    return _EAST_ASIAN.search(text) is not None


def narrowed(text: str) -> str:
    """`text` with ASCII for full-width forms, of equal length.

    A line with Han, kana, bopomofo or Hangul is returned unchanged.
    """
    if _HAS_WIDE.search(text) is None or has_east_asian(text):
        return text
    return text.translate(_WIDE)
