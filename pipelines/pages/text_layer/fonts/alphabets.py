"""The characters that have templates, and which of them count as one. Pure functions.

A map that says "A" for a drawn "a" (small capitals), or "e" for "é", costs a reader little and
looks alike in many faces: such characters form a family, and no member speaks against another.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterator


def _letters(first: int, last: int) -> str:
    kinds = ("Lu", "Ll", "Lo")
    return "".join(chr(n) for n in range(first, last + 1) if unicodedata.category(chr(n)) in kinds)


BASIC = string.ascii_letters + string.digits
#: ASCII marks, and those of typography that most texts use.
MARKS = (
    string.punctuation + "§£€«»•…°" + "".join(map(chr, (0x2013, 0x2014, *range(0x2018, 0x201F))))
)
ACCENTED = _letters(0xC0, 0x17F) + "ȘșȚțƠơƯư" + _letters(0x1EA0, 0x1EF9)
GREEK = _letters(0x386, 0x3CE)
CYRILLIC = _letters(0x400, 0x45F) + "ҐґҒғҚқҢңҮүҰұҺһӘәӨө"
#: Armenian, Hebrew, Devanagari, Thai, Georgian.
OTHERS = "".join(
    _letters(first, last)
    for first, last in (
        (0x531, 0x586),
        (0x5D0, 0x5EA),
        (0x904, 0x939),
        (0xE01, 0xE30),
        (0x10D0, 0x10F0),
    )
)
KANA = _letters(0x3041, 0x3096) + _letters(0x30A1, 0x30FA)
#: Numbers of the final consonants of Hangul: none, and those of 각, 간, 갈, 감, 강.
_FINALS = (0, 1, 4, 8, 16, 21)
#: The first words of Unicode names of scripts with thousands of characters.
_EAST = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")


def alphabet() -> str:
    """The characters of the scripts with short alphabets."""
    return BASIC + MARKS + ACCENTED + GREEK + CYRILLIC + OTHERS


def east_asian() -> str:
    """Kana, common Han and common syllables of Hangul.

    Common: syllables of KS X 1001 that end in a vowel or in one of the five most frequent
    consonants; Han in the first level of at least two of GB 2312, JIS X 0208 and Big5.
    """
    levels = [set(_coded("gb2312", 0xB0, 0xD7)), set(_coded("euc_jp", 0xB0, 0xCF)), set(_big5())]
    common = {char for level in levels for char in level if sum(char in s for s in levels) > 1}
    return (
        KANA
        + "".join(sorted(common))
        + "".join(
            char for char in _coded("euc_kr", 0xB0, 0xC8) if (ord(char) - 0xAC00) % 28 in _FINALS
        )
    )


def _coded(codec: str, first: int, last: int) -> Iterator[str]:
    """The characters of rows of a code of two bytes of 0xA1 .. 0xFE."""
    for row in range(first, last + 1):
        for cell in range(0xA1, 0xFF):
            yield from bytes((row, cell)).decode(codec, "ignore")


def _big5() -> Iterator[str]:
    for row in range(0xA4, 0xC7):
        for cell in (*range(0x40, 0x7F), *range(0xA1, 0xFF)):
            yield from bytes((row, cell)).decode("big5", "ignore")


def family(char: str) -> str:
    """What members of one family share: the letter without marks and case."""
    return char if _is_syllable(char) else unicodedata.normalize("NFKD", char)[0].casefold()[:1]


def script(char: str) -> str:
    """The first word of the character's Unicode name: LATIN, CYRILLIC, DIGIT, CJK, ..."""
    return unicodedata.name(char, "").split(" ")[0]


def is_east_asian(char: str) -> bool:
    """Whether the character is Han, kana or Hangul."""
    return script(char) in _EAST


def speaks(char: str) -> bool:
    """Whether a drawn `char` can speak against a claim: letters without marks, and digits.

    Marks of punctuation are simple shapes, which pieces of anything resemble.
    """
    bare = _is_syllable(char) or unicodedata.normalize("NFD", char) == char
    return bare and char.isalnum()


def _is_syllable(char: str) -> bool:
    """Whether it is a syllable of Hangul, which Unicode takes apart as if it had marks."""
    return "\uac00" <= char <= "\ud7a3"
