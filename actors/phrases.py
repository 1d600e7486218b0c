"""The words of a prompt: case, spaces and punctuation that carry no meaning are taken out."""

from __future__ import annotations

import re
import unicodedata

#: Punctuation that is read aloud: "h&m logo", "c# book", "100% sign".
SPOKEN = "&#%"
#: ASCII symbols that part words, beside Unicode's punctuation. Others (+, $) stay.
PARTING = "`^|~<>="
#: Marks that belong to a word: "driver's", "x-ray", "t-shirt". "traffic-light" has two words.
_WITHIN_A_WORD = re.compile(r"(?<=\w)'(?=\w)|(?<=\b\w)-(?=\w)|(?<=\w)-(?=\w\b)")
#: One spelling of each mark, and no characters without width.
_SPELLINGS = {
    ord("\N{RIGHT SINGLE QUOTATION MARK}"): "'",
    ord("\N{HYPHEN}"): "-",
    ord("\N{NON-BREAKING HYPHEN}"): "-",
    ord("\N{SOFT HYPHEN}"): "",
    ord("\N{ZERO WIDTH SPACE}"): "",
    ord("\N{WORD JOINER}"): "",
    ord("\N{ZERO WIDTH NO-BREAK SPACE}"): "",
    ord("_"): " ",  # the pattern's \w holds it
}


def normalised(prompt: str) -> str:
    """The prompt as the model reads it: words in lower case, single spaces between them.

    Underscores, slashes, quotes, brackets and other punctuation part words: ``traffic_light``,
    ``traffic-light`` and ``"Traffic  light"`` are ``traffic light``. An apostrophe within a word
    stays, and so does a hyphen beside a single letter or digit, because models learned these from
    texts that spell them so. A text of punctuation alone is only put into lower case.
    """
    lower = " ".join(unicodedata.normalize("NFKC", prompt).lower().split())
    text = lower.translate(_SPELLINGS)
    kept = {found.start() for found in _WITHIN_A_WORD.finditer(text)}
    parted = "".join(
        mark if place in kept or not _parts(mark) else " " for place, mark in enumerate(text)
    )
    words = " ".join(parted.split())
    return words if has_word(words) else lower


def same_words(prompt: str) -> str:
    """Equal for prompts that differ only in case, spaces and punctuation.

    ``T-shirt`` and ``t shirt`` are two texts for a model, but no two classes for a person.
    """
    words = normalised(prompt)
    return words.replace("-", " ").replace("'", " ") if has_word(words) else words


def has_word(text: str) -> bool:
    """Whether a text, or a token of a vocabulary, holds a letter or a digit."""
    return any(mark.isalnum() for mark in text)


def _parts(mark: str) -> bool:
    if mark in SPOKEN:
        return False
    category = unicodedata.category(mark)
    return mark in PARTING or category[0] == "P" or category == "Cc"
