"""The characters of `alphabet: latin`, by which rows of asterisks or rules do not become Han."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: First and last code points: ASCII, Latin letters, general punctuation, currencies, letterlike
#: symbols (No., TM).
_RANGES = (
    *((0x20, 0x7E), (0xA0, 0x24F), (0x1E00, 0x1EFF)),
    *((0x2010, 0x205E), (0x20A0, 0x20CF), (0x2100, 0x214F)),
)


def latin_classes(characters: Sequence[str]) -> npt.NDArray[np.int64]:
    """Indices of the blank (class 0), Latin letters, digits and punctuation, ascending."""
    kept = [place for place, text in enumerate(characters) if place == 0 or _is_latin(text)]
    return np.array(kept, np.int64)


def _is_latin(text: str) -> bool:
    """Also of a class of several characters, such as a letter with a combining mark."""
    return text != "" and all(any(a <= ord(char) <= b for a, b in _RANGES) for char in text)
