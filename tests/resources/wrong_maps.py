"""Maps of fonts to characters that are wrong, as broken producers of PDFs write them."""

from __future__ import annotations

import random
import string
from collections.abc import Mapping

from mapped_fonts import Claims

_CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
_GREEK = "αβγδεζηθικλμνξοπρστυφχψω"


def table(pairs: Mapping[str, str]) -> Claims:
    """A map by pairs of (drawn, said); capitals go with small letters; the rest is right."""

    def claims(char: str) -> str:
        said = pairs.get(char.lower(), char)
        return said.upper() if char.isupper() and char.lower() in pairs else said

    return claims


def of_text(text: str) -> Claims:
    """The letters of a text, each said to be the fifth after it in the order of Unicode."""
    return table(_rotated("".join(sorted({char for char in text if char.isalpha()})), 5))


def _rotated(alphabet: str, by: int) -> dict[str, str]:
    return dict(zip(alphabet, alphabet[by:] + alphabet[:by], strict=True))


def _shuffled(alphabet: str, seed: int) -> dict[str, str]:
    said = list(alphabet)
    random.Random(seed).shuffle(said)
    return dict(zip(alphabet, said, strict=True))


def _consonants(seed: int) -> dict[str, str]:
    """Vowels are drawn for vowels, so that every word looks plausible."""
    vowels = "aeiou"
    others = "".join(char for char in string.ascii_lowercase if char not in vowels)
    return _shuffled(others, seed) | _rotated(vowels, 2)


def shifted_codes(char: str) -> str:
    """Every code 15 too low, marks included, as in a font whose encoding starts elsewhere."""
    return chr(ord(char) - 15) if "0" <= char <= "z" else char


#: Name -> (map, language of the text).
WRONG: dict[str, tuple[Claims, str]] = {
    "random letters": (table(_shuffled(string.ascii_lowercase, 1)), "eng"),
    "letters, vowels kept plausible": (table(_consonants(2)), "eng"),
    "letters shifted by one": (table(_rotated(string.ascii_lowercase, 1)), "eng"),
    "codes shifted by 15": (shifted_codes, "eng"),
    "vowels exchanged": (table(_rotated("aeiou", 1)), "eng"),
    "e and a exchanged": (table({"a": "e", "e": "a"}), "eng"),
    "digits shifted by one": (table(_rotated(string.digits, 1)), "eng"),
    "Cyrillic shifted by one": (table(_rotated(_CYRILLIC, 1)), "rus"),
    "Greek shifted by one": (table(_rotated(_GREEK, 1)), "ell"),
    "Greek said to be Latin": (
        table(dict(zip(_GREEK, string.ascii_lowercase, strict=False))),
        "ell",
    ),
    "Cyrillic said to be Latin": (
        table(dict(zip(_CYRILLIC, string.ascii_lowercase * 2, strict=False))),
        "rus",
    ),
}
