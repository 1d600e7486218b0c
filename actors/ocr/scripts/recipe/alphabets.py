"""Words of 25 scripts: those of Tesseract's language data, and random syllables for other scripts.

Tesseract's word lists (Apache-2.0) come with Debian's packages `tesseract-ocr-*`. Its tools
`combine_tessdata` and `dawg2wordlist` unpack them.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from actors.ocr.scripts.classes import CLASSES, NONE

__all__ = ["CLASSES", "NONE", "line"]

DATA = Path("/usr/share/tesseract-ocr/5/tessdata")

#: Script class -> languages of Tesseract whose words it has.
LANGUAGES = {
    "Latn": ("eng", "deu", "fra"),
    "Viet": ("vie",),
    "Cyrl": ("rus",),
    "Grek": ("ell",),
    "Arab": ("ara",),
    "Hebr": ("heb",),
    "Deva": ("hin",),
    "Thai": ("tha",),
    "Hang": ("kor",),
    "Hani": ("chi_sim", "jpn"),
}

#: Script class -> (first, last) code points of its consonants and of its dependent vowels. Scripts
#: without dependent vowels have an empty second range.
SYLLABLES = {
    "Beng": ((0x995, 0x9B9), (0x9BE, 0x9CC)),
    "Guru": ((0xA15, 0xA39), (0xA3E, 0xA4C)),
    "Gujr": ((0xA95, 0xAB9), (0xABE, 0xACC)),
    "Orya": ((0xB15, 0xB39), (0xB3E, 0xB4C)),
    "Taml": ((0xB95, 0xBB9), (0xBBE, 0xBCC)),
    "Telu": ((0xC15, 0xC39), (0xC3E, 0xC4C)),
    "Knda": ((0xC95, 0xCB9), (0xCBE, 0xCCC)),
    "Mlym": ((0xD15, 0xD39), (0xD3E, 0xD4C)),
    "Sinh": ((0xD9A, 0xDC6), (0xDCF, 0xDDE)),
    "Laoo": ((0xE81, 0xEAE), (0xEB0, 0xEBC)),
    "Mymr": ((0x1000, 0x1021), (0x102B, 0x1032)),
    "Khmr": ((0x1780, 0x17A2), (0x17B6, 0x17C5)),
    "Geor": ((0x10D0, 0x10F0), (1, 0)),
    "Armn": ((0x561, 0x587), (1, 0)),
    "Ethi": ((0x1200, 0x1357), (1, 0)),
}

#: Letters of other languages in Cyrillic and Arabic, which Russian and Arabic words lack.
_OTHER_LETTERS = {"Cyrl": "іїєґўђћјљњџѓќѕәөүқңғһ", "Arab": "پچژگکیٹڈڑںےہھ"}
#: Accented letters within PP-OCRv6's alphabet, which English words lack.
_ACCENTED = "".join(
    chr(code) for code in range(0xC0, 0x180) if unicodedata.category(chr(code)).startswith("L")
)
_PUNCTUATION = (",", ".", ":", ";", "!", "?", "-", ")", "%", "*", "/")


@cache
def words_of(language: str) -> tuple[str, ...]:
    """The words of a language of Tesseract, without those that are not in its own letters."""
    with tempfile.TemporaryDirectory() as folder:
        start = f"{folder}/{language}."
        data = DATA / f"{language}.traineddata"
        _quiet("combine_tessdata", "-u", str(data), start)
        listed = f"{folder}/words"
        _quiet("dawg2wordlist", f"{start}lstm-unicharset", f"{start}lstm-word-dawg", listed)
        words = Path(listed).read_text().split()
    fits = _FITS.get(language, lambda word: True)
    return tuple(word for word in words if fits(word))


def _quiet(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def outside_alphabet(char: str) -> bool:
    """Whether a Latin letter is outside PP-OCRv6's alphabet: most of Vietnamese."""
    return 0x1E00 <= ord(char) <= 0x1EFF and char not in "Ạồ"


def _has(start: str) -> Callable[[str], bool]:
    return lambda word: any(unicodedata.name(char, "").startswith(start) for char in word)


_FITS: dict[str, Callable[[str], bool]] = {
    "vie": lambda word: any(ord(char) > 127 for char in word),
    "rus": _has("CYRILLIC"),
    "ell": _has("GREEK"),
    "ara": _has("ARABIC"),
    "heb": _has("HEBREW"),
    "hin": _has("DEVANAGARI"),
    "tha": _has("THAI"),
    "kor": _has("HANGUL"),
    "chi_sim": _has("CJK"),
    "jpn": lambda word: not word.isascii(),
    "eng": str.isascii,
}


def syllables(script: str, chance: random.Random) -> str:
    """A random word of a script in SYLLABLES."""
    (first, last), (low, high) = SYLLABLES[script]
    letters, signs = _assigned(first, last), _assigned(low, high)
    word = ""
    for _ in range(chance.randint(2, 5)):
        word += chance.choice(letters)
        if signs and chance.random() < 0.6:
            word += chance.choice(signs)
    return word


def _assigned(first: int, last: int) -> list[str]:
    return [chr(code) for code in range(first, last + 1) if unicodedata.name(chr(code), "")]


def number(chance: random.Random) -> str:
    """A price, a date, a telephone number, a code or a rule."""
    figure = chance.randrange(10 ** chance.randint(1, 6))
    return chance.choice(
        (
            f"{figure / 100:.2f}",
            f"{figure:,}",
            f"{chance.randint(1, 31):02}/{chance.randint(1, 12):02}/{chance.randint(1990, 2030)}",
            f"{chance.randint(0, 23)}:{chance.randint(0, 59):02}",
            f"+{figure}-{chance.randrange(10**6)}",
            f"({figure}%)",
            f"{figure}",
            _rule(chance),
            _rule(chance),
        )
    )


def _rule(chance: random.Random) -> str:
    """A row of asterisks, dashes or other marks, with or without blanks."""
    mark = chance.choice(("*", "*", "-", "=", "_", ".", "#", "~", "+", "**", "*-", "x", "•"))
    return (mark + chance.choice(("", "", " "))) * chance.randint(1, 30)


def line(script: str, chance: random.Random, length: int) -> str:
    """A random line of about `length` characters."""
    words: list[str] = []
    style = chance.random()
    accents = chance.choice((0, 0, 0.03, 0.15)) if script == "Latn" else 0.0
    language = chance.choice(LANGUAGES.get(script, ("",)))
    for word in _words(script, language, chance):
        shown = _accented(word, accents, chance)
        if style < 0.25:
            shown = shown.upper()
        elif style < 0.4:
            shown = shown.title()
        elif style < 0.7:
            shown = shown.lower()
        words.append(shown + (chance.choice(_PUNCTUATION) if chance.random() < 0.12 else ""))
        if sum(map(len, words)) + len(words) > length:
            break
    blank = "" if language in ("tha", "chi_sim", "jpn") and style < 0.8 else " "
    return blank.join(words)


def _words(script: str, language: str, chance: random.Random) -> Iterator[str]:
    while True:
        if script == NONE or chance.random() < 0.05:
            yield number(chance)
        elif script in SYLLABLES:
            yield syllables(script, chance)
        elif script in _OTHER_LETTERS and chance.random() < 0.12:
            own = chance.choice(words_of(language))
            yield "".join(
                chance.choice(_OTHER_LETTERS[script]) if chance.random() < 0.3 else char
                for char in own
            )
        else:
            yield chance.choice(words_of(language))


def _accented(word: str, share: float, chance: random.Random) -> str:
    if not share:
        return word
    return "".join(
        chance.choice(_ACCENTED) if char.isalpha() and chance.random() < share else char
        for char in word
    )
