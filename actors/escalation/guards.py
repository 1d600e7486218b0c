"""What a vision-language model's answer is worth. Pure functions over text.

Such a model gives no confidence, reads on where nothing is written and repeats itself. What it says
is compared with a first reader that was sure of some of the lines.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pydantic import Field
from rapidfuzz import fuzz

from actors.contract import Settings
from actors.lines import LineValue


class AgreementRules(Settings):
    """How two readings are compared; see `agreement`."""

    sure_score: float = Field(
        0.95,
        ge=0,
        le=1,
        description="score from which a line of the first reader vouches for the answer",
    )
    min_chars: int = Field(
        4, ge=1, description="letters and digits that a line must have to vouch or to be matched"
    )
    match: float = Field(
        0.85, ge=0, le=1, description="likeness from which a sure line counts as found"
    )
    loose_match: float = Field(
        0.6, ge=0, le=1, description="likeness from which any line supports the answer"
    )


@dataclass(frozen=True)
class Agreement:
    """How an answer and the first reader's lines agree.

    Attributes:
        sure_lines: lines that the first reader was sure of and that are long enough to vouch.
        found: how many of them stand in the answer.
        share: found / sure_lines; None where there is no sure line: nothing vouches.
        supported: share (0..1) of the answer's characters that a line of any score supports; None
            for an answer without letters and digits.
        length_ratio: characters of the answer / characters of all lines; None without any.
    """

    sure_lines: int
    found: int
    share: float | None
    supported: float | None
    length_ratio: float | None


def agreement(
    answer: str, lines: Sequence[LineValue], rules: AgreementRules | None = None
) -> Agreement:
    """Compare an answer with the lines of the first reader.

    Both are reduced to what readers agree on (`essence`). Then each line, the longest first, takes
    the stretch of the answer that is most like it (`rapidfuzz.fuzz.partial_ratio_alignment`), and
    no later line may take that stretch again: of two equal lines each needs its own copy, and a
    copy that no line needs is not supported. The order of the lines plays no part. A sure line
    with digits is found only with the same digits: one wrong digit in a price is a likeness of 0.9.

    Measured with RapidOCR on 63 receipts: against the truth as the answer `share` is 0.87 to 1.0
    and `supported` 0.77 to 1.0; with 5 % of its characters wrong `share` has a median of 0.78, with
    20 % of its digits wrong 0.66; against the truth of another receipt `share` is 0.72 at most.
    """
    rules = rules or AgreementRules()
    wanted = [(essence(line["text"] or ""), line["score"]) for line in lines]
    said = essence(answer)
    # An answer shorter than a line would be searched for in the line, not the line in the answer.
    margin = _TAKEN * max((len(text) for text, _ in wanted), default=0)
    rest, same = _matched([text for text, _ in wanted], margin + said + margin, rules)
    vouching = [
        found
        for (text, score), found in zip(wanted, same, strict=True)
        if score is not None and score >= rules.sure_score and len(text) >= rules.min_chars
    ]
    read = sum(len(text) for text, _ in wanted)
    return Agreement(
        sure_lines=len(vouching),
        found=sum(vouching),
        share=sum(vouching) / len(vouching) if vouching else None,
        supported=rest.count(_TAKEN, len(margin), len(margin) + len(said)) / len(said)
        if said
        else None,
        length_ratio=len(said) / read if read else None,
    )


#: Stands for what is taken; no text keeps it through `essence`.
_TAKEN = "\0"


def _matched(lines: Sequence[str], text: str, rules: AgreementRules) -> tuple[str, list[bool]]:
    """`text` with a mark over every character that a line took, and whether each line was found.

    What is there to the letter goes first, so that no misread line takes a part of it.
    """
    found = [False] * len(lines)
    order = sorted((i for i, line in enumerate(lines) if line), key=lambda i: -len(lines[i]))
    for i in order:
        start = text.find(lines[i])
        if start >= 0:
            found[i] = True
            text = _taken(text, start, start + len(lines[i]))
    for i in order:
        if found[i] or len(lines[i]) < rules.min_chars:
            continue
        best = fuzz.partial_ratio_alignment(lines[i], text, score_cutoff=100 * rules.loose_match)
        if best is not None:
            place = text[best.dest_start : best.dest_end]
            same_digits = _digits(lines[i]) in _digits(place)
            found[i] = best.score >= 100 * rules.match and same_digits
            text = _taken(text, best.dest_start, best.dest_end)
    return text, found


def _taken(text: str, start: int, end: int) -> str:
    return text[:start] + _TAKEN * (end - start) + text[end:]


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


_LOOK = re.compile(r"[^\w.,]|_|(?<!\d)[.,]|[.,](?!\d)")


def essence(text: str) -> str:
    """Letters and digits alone, case folded (NFKC), with the points and commas inside numbers.

    Spaces, rules, leaders, table bars and emphasis are where two good readers differ most.
    """
    return _LOOK.sub("", unicodedata.normalize("NFKC", text)).casefold()


def likeness(first: str, second: str) -> float:
    """0..1: normalised Indel similarity of two readings of one line, reduced by `essence`."""
    return fuzz.ratio(essence(first), essence(second)) / 100


_TIGHTEST = 6.0  # characters


def implausible_line(text: str, polygon: Sequence[float]) -> str | None:
    """Why `text` cannot be what stands in one line's box; None if it can.

    No line has a line break. On 3,357 lines of receipts the median is 2.3 characters on a length of
    the box's height, the largest 4.6; 6 are allowed.
    """
    if "\n" in text:
        return "it has line breaks"
    corners = np.asarray(polygon, np.float64).reshape(4, 2)
    sides = [float(np.hypot(*(b - a))) for a, b in pairwise([*corners, corners[0]])]
    across, along = sorted((max(sides[0], sides[2]), max(sides[1], sides[3])))
    room = max(_TIGHTEST, _TIGHTEST * along / max(across, 1.0))
    if len(text) > room:
        return f"{len(text)} characters for a box of {along:.0f} x {across:.0f} pixels"
    return None
