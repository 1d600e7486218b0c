"""The operators that show text, and what is left of them when characters are cut out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pikepdf
from pikepdf import Name

from pipelines.export.pdf.old_text.finding import Glyph, Shown

#: All but Tj and TJ first go to the next line.
SHOW = frozenset({"Tj", "TJ", "'", '"'})
#: Operators after which the end of the last text no longer matters.
_PLACE = frozenset({"BT", "ET", "Td", "TD", "Tm", "T*", "'", '"'})
_BLANK_CODE = b" "


class NotPossible(Exception):
    """The text cannot be taken out of this page; the message says why."""


class _Code(NamedTuple):
    """A character code. `glyph`: None for a blank that pdfium left out."""

    code: bytes
    glyph: Glyph | None


def strings_of(operand: Any) -> Iterator[bytes]:
    """The strings that an operator shows, without empty ones."""
    items = operand if isinstance(operand, pikepdf.Array) else [operand]
    yield from (bytes(item) for item in items if isinstance(item, pikepdf.String) and bytes(item))


def rest_of(operand: Any, font: Any, shown: Shown, following: Iterable[Any]) -> list[Any]:
    """The items of a TJ in place of an operator of which some or all is cut; text keeps its place.

    Args:
        operand: the string or array that it shows.
        font: dictionary of its font, or None.
        shown: what pdfium draws for it.
        following: the instructions after it.

    Raises NotPossible.
    """
    end = _end(shown, following)
    if shown.hidden:
        return [] if end is None else [_lead(operand) - end]
    kept: list[Any] = []
    cut_at: float | None = None  # the place of the first character that is cut
    for piece in _pieces(operand, _code_width(font), shown.glyphs):
        if not isinstance(piece, _Code):
            kept += [piece] if cut_at is None else []
        elif piece.glyph is None:
            kept += [piece.code] if cut_at is None else []
        elif piece.glyph.hidden:
            cut_at = piece.glyph.along if cut_at is None else cut_at
        else:
            kept += [piece.code] if cut_at is None else [cut_at - piece.glyph.along, piece.code]
            cut_at = None
    if cut_at is not None and end is not None:
        kept.append(cut_at - end)
    return list(_joined(kept))


def _joined(items: Sequence[Any]) -> Iterator[Any]:
    """The items of a TJ; codes that follow each other are one string."""
    text = b""
    for item in items:
        if isinstance(item, bytes):
            text += item
            continue
        if text:
            yield pikepdf.String(text)
        text = b""
        yield item
    if text:
        yield pikepdf.String(text)


def _lead(operand: Any) -> float:
    """The sum of the numbers of a TJ before its first string."""
    lead = 0.0
    for item in operand if isinstance(operand, pikepdf.Array) else ():
        if isinstance(item, pikepdf.String) and bytes(item):
            break
        lead += 0.0 if isinstance(item, pikepdf.String) else float(item)
    return lead


def _end(shown: Shown, following: Iterable[Any]) -> float | None:
    """How far the text moved the next one, as `Glyph.along`; None if the next one is placed."""
    for instruction in following:
        operator = str(instruction.operator)
        if operator in _PLACE:
            return None
        if operator in SHOW and any(strings_of(instruction.operands[-1])):
            lead = _lead(instruction.operands[-1])
            return None if shown.to_next is None else shown.to_next + lead
    return None


def _code_width(font: Any) -> int:
    """Bytes of a character code. Raises NotPossible if they vary."""
    if not isinstance(font, pikepdf.Dictionary) or font.get("/Subtype") != Name.Type0:
        return 1
    encoding = font.get("/Encoding")
    if isinstance(encoding, pikepdf.Name) and "Identity" in str(encoding):
        return 2
    raise NotPossible("a text is seen in part, and the codes of its font have several lengths")


def _pieces(operand: Any, width: int, glyphs: Sequence[Glyph]) -> Iterator[Any]:
    """The numbers and the codes of an operand, in order."""
    items = operand if isinstance(operand, pikepdf.Array) else [operand]
    codes = [code for data in strings_of(operand) for code in _codes(data, width)]
    own = iter(_aligned(codes, glyphs))
    for item in items:
        if isinstance(item, pikepdf.String):
            yield from (_Code(code, next(own)) for code in _codes(bytes(item), width))
        else:
            yield item


def _codes(data: bytes, width: int) -> list[bytes]:
    return [data[at : at + width] for at in range(0, len(data), width)]


def _aligned(codes: Sequence[bytes], glyphs: Sequence[Glyph]) -> list[Glyph | None]:
    """The glyph of each code; None for a blank that pdfium left out."""
    if len(codes) == len(glyphs):
        return list(glyphs)
    solid = [glyph for glyph in glyphs if not glyph.blank]
    blank = [code == _BLANK_CODE for code in codes]
    if len(solid) != blank.count(False):
        raise NotPossible(f"{len(codes)} codes for {len(glyphs)} characters")
    following = iter(solid)
    return [None if is_blank else next(following) for is_blank in blank]
