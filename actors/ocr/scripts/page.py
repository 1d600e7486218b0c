"""The script of each line of a page, and the share of the page that its reader cannot read.

The widest lines of a page are classified, and the lines whose reading is suspect: weak, or with few
characters for their ink. The other lines take the script of their text, or that of the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from actors.ocr.pp_ocr.detection import LINE_HEIGHT, Image
from actors.ocr.scripts.classes import CLASSES, NONE, VIETNAMESE, Alphabet
from actors.ocr.scripts.ink import ink_columns, repeats
from actors.ocr.scripts.network import Network
from actors.ocr.scripts.windows import windows

Doubles = npt.NDArray[np.float64]

#: Widest lines of a page that are classified, with up to `_WINDOWS` windows each.
_WIDEST, _WINDOWS = 8, 2
#: Suspect lines that are classified too, with one window each.
_SUSPECT = 8
#: Suspect lines of fewer pixels hold two letters or fewer: too little for a judgement.
_NARROWEST = 96
#: Lines with a lower score are suspect.
_SURE = 0.9
#: Widest character in units of the crop's height; the ink beyond it was not read.
_WIDEST_CHARACTER = 1.25
#: Weight of each class before the page is seen; all weights together count as _PRIOR lines.
_PRIOR, _RARE = 1.0, 0.01
_USUAL = {"Latn": 0.5, "Hani": 0.1, NONE: 0.1}
_ROUNDS = 5
#: A line with a more probable class is wholly of this class; without one, it is of none.
_CERTAIN = 0.5
#: Log odds by which a good reading speaks for its letters, and the fewest letters that do.
_TRUST, _FEW = 3.0, 3
#: Of Vietnamese lines, one in three has no mark that PP-OCRv6 reads; of English lines, all.
_WITHOUT_MARKS = 0.4
#: Latin letters that are worth one of Han or kana.
_LETTERS_OF_HAN = 2
#: Lines with kana in proportion to lines of Han alone from which a page is Japanese.
_SOME_KANA = 0.1


_LATIN = np.array([name in ("Latn", VIETNAMESE) for name in CLASSES])


@dataclass(frozen=True)
class PageScripts:
    """Scripts of a page.

    Attributes:
        lines: ISO 15924 code of each line; None: no letters, or unknown.
        page: code of most of the page's letters; None: unknown.
        unread_script, unread_letters, unread_ink: see `actors.lines.READING`; None without lines.
    """

    lines: list[str | None]
    page: str | None
    unread_script: float | None
    unread_letters: float | None
    unread_ink: float | None


class Scripts:
    """Finds the scripts of pages for one reader. `alphabet`: what it reads; None: unknown."""

    def __init__(self, alphabet: Alphabet | None) -> None:
        self._alphabet = alphabet
        self._network = _network()
        self._unreadable = np.array(
            [alphabet is not None and not alphabet.reads(name) for name in CLASSES]
        )

    def of_page(
        self, crops: Sequence[Image], texts: Sequence[str], scores: Sequence[float | None]
    ) -> PageScripts:
        """Scripts of a page by its lines: BGR crops (48, W, 3), the texts read and their scores."""
        if not crops:
            return PageScripts([], None, None, None, None)
        widths = np.array([crop.shape[1] for crop in crops], np.float64)
        ink = np.array([ink_columns(crop) for crop in crops], np.float64)
        read = np.array([len("".join(text.split())) for text in texts], np.float64)
        unread = np.maximum(ink - read * _WIDEST_CHARACTER * LINE_HEIGHT, 0)
        suspect = (unread > 0) | np.array([score is None or score < _SURE for score in scores])
        marks = np.array([one and repeats(crops[i]) for i, one in enumerate(suspect)])
        unread[marks] = 0
        chosen = _chosen(widths, suspect)
        likelihood = self._classified(crops, chosen)
        for row, place in enumerate(chosen):
            if not suspect[place]:
                likelihood[row] += _TRUST * _fits_text(texts[place])
        shares = _posterior(likelihood, _proportions(likelihood, widths[chosen]))
        shares[marks[chosen]] = [name == NONE for name in CLASSES]
        classes = _everywhere(shares, chosen, suspect)
        # Han that was read weakly on a Latin page is a damaged letter.
        trusted = ["" if one else text for one, text in zip(suspect, texts, strict=True)]
        return self._judged(classes, widths, trusted, float(unread.sum() / max(ink.sum(), 1)))

    def _classified(self, crops: Sequence[Image], chosen: npt.NDArray[np.int64]) -> Doubles:
        """Log likelihoods (chosen, CLASSES) of lines, up to a constant of each line."""
        most = [_WINDOWS if place < _WIDEST else 1 for place in range(len(chosen))]
        cut = [windows(crops[i], count) for i, count in zip(chosen, most, strict=True)]
        logits = self._network.logits(np.concatenate(cut)).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        bounds = np.cumsum([len(part) for part in cut])[:-1]
        return np.stack([part.mean(axis=0) for part in np.split(logits, bounds)])

    def _judged(
        self, classes: Doubles, widths: Doubles, texts: Sequence[str], unread_ink: float
    ) -> PageScripts:
        """`classes`: shares (lines, CLASSES) of each line; `texts`: "" for suspect lines."""
        unread = (widths / widths.sum()) @ classes * self._unreadable
        best = [CLASSES[place] for place in classes.argmax(axis=1)]
        lines = [_code(name, text) for name, text in zip(best, texts, strict=True)]
        return PageScripts(
            lines=lines,
            page=_most(lines, widths),
            unread_script=float(unread[~_LATIN].sum()) if self._alphabet else None,
            unread_letters=float(unread[_LATIN].sum()) if self._alphabet else None,
            unread_ink=unread_ink,
        )


@cache
def _network() -> Network:
    """One for all readers of a worker: Tesseract has one for each list of languages."""
    return Network()


def _chosen(widths: Doubles, suspect: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Indices of the lines to classify: the widest of all, then the widest of the suspect."""
    order = np.argsort(-widths, kind="stable")
    widest = order[:_WIDEST]
    others = order[_WIDEST:]
    others = others[widths[others] >= _NARROWEST]
    return np.concatenate([widest, others[suspect[others]][:_SUSPECT]])


def _proportions(likelihood: Doubles, widths: Doubles) -> Doubles:
    """Share of each class on the page, by expectation maximisation (Saerens et al. 2002)."""
    before = np.array([_USUAL.get(name, _RARE) for name in CLASSES])
    before /= before.sum()
    weight = widths / widths.mean()
    shares = np.full(len(CLASSES), 1 / len(CLASSES))  # from `before`, all would become Latin
    for _ in range(_ROUNDS):
        counted = weight @ _posterior(likelihood, shares)
        shares = (counted + _PRIOR * before) / (len(widths) + _PRIOR)
    return shares


def _posterior(likelihood: Doubles, shares: Doubles) -> Doubles:
    logits = likelihood + np.log(shares)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Doubles = odds / odds.sum(axis=1, keepdims=True)
    return found


def _everywhere(
    shares: Doubles, chosen: npt.NDArray[np.int64], suspect: npt.NDArray[np.bool_]
) -> Doubles:
    """Shares of all lines: those not chosen are as the chosen ones that are suspect, or not."""
    hard = (shares > _CERTAIN).astype(np.float64)
    found = np.zeros((len(suspect), len(CLASSES)))
    for kind in (False, True):
        alike = suspect[chosen] == kind
        found[suspect == kind] = (hard[alike] if alike.any() else hard).mean(axis=0)
    found[chosen] = hard
    return found


def _fits_text(text: str) -> Doubles:
    """(CLASSES,) 0..1: how far a well read text speaks for each class.

    Text of Latin or Han letters speaks for these, digits without letters for no script: some fonts'
    digits look like Georgian letters to the network.
    """
    speaks = dict.fromkeys(CLASSES, 0.0)
    if _count(text, _is_latin) >= _FEW:
        speaks["Latn"] = 1.0
        speaks[VIETNAMESE] = _WITHOUT_MARKS if text.isascii() else 1.0
    if _count(text, _is_han) >= _FEW:
        speaks["Hani"] = 1.0
    if not any(map(str.isalpha, text)) and _count(text, str.isdigit) >= _FEW:
        speaks[NONE] = 1.0
    return np.array(list(speaks.values()))


def _count(text: str, kind: Callable[[str], bool]) -> int:
    return sum(map(kind, text))


def _is_latin(char: str) -> bool:
    return char.isalpha() and char < "\u0250"


def _is_han(char: str) -> bool:
    return _is_kana(char) or "\u3400" <= char <= "\u9fff"


def _code(name: str, text: str) -> str | None:
    """ISO 15924 code of a line of a class: between Latin and Han, by a well read text.

    A suspect line has the text "", and the script of its class.
    """
    if name not in ("Latn", VIETNAMESE, "Hani"):
        return None if name == NONE else name
    han, latin = _count(text, _is_han), _count(text, _is_latin)
    if han * _LETTERS_OF_HAN > latin or (name == "Hani" and not latin):
        return "Jpan" if any(map(_is_kana, text)) else "Hani"
    return "Latn" if not text or any(map(str.isalpha, text)) else None


def _is_kana(char: str) -> bool:
    return "\u3041" <= char <= "\u30ff" and char != "\u30fb"


def _most(lines: Sequence[str | None], widths: Doubles) -> str | None:
    """The script of most of the width. A page of Han with some kana is Japanese."""
    found: dict[str, float] = {}
    for name, width in zip(lines, widths.tolist(), strict=True):
        if name is not None:
            found[name] = found.get(name, 0.0) + width
    if found.get("Jpan", 0) > _SOME_KANA * found.get("Hani", 0):
        found["Jpan"] = found.get("Jpan", 0) + found.pop("Hani", 0)
    return max(found, key=found.__getitem__, default=None)
