"""Decides from numbers whether the text layer of a PDF page is accepted.

`pipelines.pages.text_layer` measures the numbers. Refusing a good layer costs one OCR run.
Accepting a bad layer puts wrong text into the corpus unnoticed. So the limits are strict.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from pydantic import Field

from actors.contract import Settings
from pipelines.pages.notes import PageNote


class NativeText(Settings):
    """When the text layer of a PDF page replaces OCR."""

    enabled: bool = Field(True, description="false: every page is rendered and goes to OCR")
    min_chars: int = Field(16, ge=1, description="fewest characters of a layer, without spaces")
    min_coverage: float = Field(
        0.8,
        ge=0,
        le=1,
        description="lowest share of the text-like ink inside the text boxes; photos, drawings, "
        "plots and rules do not count",
    )
    max_unread_lines: int = Field(
        0,
        ge=0,
        description="most lines of letter shapes outside of the layer's text, such as white text "
        "on a dark picture; a sign or a logo of one or two words is no line",
    )
    max_garbled: float = Field(
        0.05, ge=0, le=1, description="highest share of meaningless characters"
    )
    check_fonts: bool = Field(
        True,
        description="refuse a layer if the shapes that a font draws are other letters than it says",
    )
    trust_hidden: bool = Field(
        False, description="accept invisible text, which is the result of an earlier OCR"
    )


@dataclass(frozen=True, kw_only=True)
class TextLayer:
    """Measurements of one page's text layer. Shares are 0..1.

    `chars`, `garbled` and `coverage` describe the usable text: all text if hidden text is trusted,
    else the visible text.
    """

    chars: int  #: without white space
    hidden: float  #: characters that are not seen / characters of the page
    garbled: float  #: see `garbled_share`
    coverage: float  #: its characters / these and the letter shapes outside of them
    annotated: float  #: ink drawn by annotations and form fields, which hold no layer text
    unread_lines: int = 0  #: lines of letter shapes outside of its text
    wrong_fonts: tuple[str, ...] = ()  #: fonts that draw other letters than the layer says
    concealed: int = 0  #: letters and digits that are not seen, also those outside of the page


#: The reason against a layer that is hidden because it is an earlier OCR of a picture.
EARLIER_OCR = "hidden text layer (earlier OCR)"

NO_TEXT = TextLayer(chars=0, hidden=0, garbled=0, coverage=0, annotated=0)

#: A mostly invisible layer is an earlier OCR; a little invisible text is a watermark or artefact.
_MOSTLY = 0.5
#: The text layer lacks the values of form fields, often the most important text of a page.
_MAX_ANNOTATED = 0.01


def decide(layer: TextLayer, settings: NativeText) -> tuple[bool, str]:
    """(accepted, reason). `reason` is "accepted" or names the first test that failed."""
    if not settings.enabled:
        return False, "native text is switched off"
    accepted, reason = _judged(layer, settings)
    # What is seen may be a good layer by itself: of three languages, two are switched off.
    if layer.hidden > _MOSTLY and not accepted and not settings.trust_hidden:
        return False, EARLIER_OCR
    return accepted, reason


def _judged(layer: TextLayer, settings: NativeText) -> tuple[bool, str]:
    if layer.chars == 0:
        return False, "no text layer"
    if layer.chars < settings.min_chars:
        return False, f"only {layer.chars} characters"
    if layer.wrong_fonts:
        return False, f"{PageNote.TEXT_LAYER_DISAGREES}: {'; '.join(layer.wrong_fonts)}"
    if layer.garbled > settings.max_garbled:
        return False, f"garbled {_percent(layer.garbled)}"
    if layer.annotated > _MAX_ANNOTATED:
        return False, f"annotations or form fields draw {_percent(layer.annotated)} of the ink"
    if layer.coverage < settings.min_coverage:
        return False, f"covers {_percent(layer.coverage)} of the ink"
    # The boxes of an earlier OCR that is trusted may be off by a line.
    if layer.unread_lines > settings.max_unread_lines and layer.hidden <= _MOSTLY:
        return False, f"lacks {layer.unread_lines} line{'s'[: layer.unread_lines - 1]} of text"
    return True, "accepted"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


#: UTF-8 read as Latin-1 or CP1252: "Ã©", "â€™", "Ð¿".
_MOJIBAKE = re.compile(r"[ÂÃÐÑ][\u0080-\u00bf]|â[€\u0080][™œ\u009d\u0080-\u00bf]?")
#: Letters of the alphabets in which words are judged; Han, kana, Hangul and the rest end a word.
_LETTERS = r"A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0370-\u052f\u1e00-\u1fff"
_WORD = re.compile(rf"[{_LETTERS}]{{4,}}")
_VOWELS = frozenset("aeiouyæøœ\u0131əɛɔ")
_ALPHABETS = frozenset({"LATIN", "CYRILLIC", "GREEK"})


def garbled_share(text: str, unmapped: int = 0) -> float:
    """Share (0..1) of meaningless characters in `text`, without spaces.

    Counted as meaningless:
    - U+FFFD; private use, control and unassigned characters; lone surrogates
    - UTF-8 read as Latin-1
    - words that mix scripts
    - words of four or more Latin letters without a vowel: a font with shifted codes ("7KLV", This)
    - `unmapped` glyphs, for which the font names no character and pdfium guesses one
    """
    dense = "".join(text.split())
    if not dense:
        return 0.0
    bad = sum(unicodedata.category(char) in ("Co", "Cc", "Cn", "Cs") for char in dense)
    bad += dense.count("\N{REPLACEMENT CHARACTER}")
    bad += sum(len(match) for match in _MOJIBAKE.findall(text))
    bad += sum(len(word) for word in _WORD.findall(text) if not _plausible(word))
    return min(1.0, max(bad, unmapped) / len(dense))


def _plausible(word: str) -> bool:
    scripts = {_script(char) for char in word} & _ALPHABETS
    if scripts == {"LATIN"}:
        return any(char in _VOWELS for char in unicodedata.normalize("NFD", word.lower()))
    return len(scripts) <= 1


def _script(char: str) -> str:
    """The first word of the character's Unicode name: LATIN, CYRILLIC, CJK, MICRO, ..."""
    return "LATIN" if char.isascii() else unicodedata.name(char, "").split(" ")[0]
