"""The content streams of a PDF page without some of its text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pikepdf
from pikepdf import Name, Operator

from pipelines.export.pdf.old_text.finding import Shown
from pipelines.export.pdf.old_text.fonts import BlankFonts
from pipelines.export.pdf.old_text.operators import SHOW, NotPossible, rest_of, strings_of

_MAX_NESTING = 32


class PageWithout:
    """Takes text out of one page. Its text operators are matched with pdfium's text by order.

    Raises NotPossible, and leaves the page changed: read the file again.
    """

    def __init__(self, pdf: pikepdf.Pdf, shown: Sequence[Shown], fonts: BlankFonts | None) -> None:
        """`shown`: of the whole page; `fonts`: for the text that stays; None: stays as it is."""
        self._pdf, self._fonts = pdf, fonts
        self._shown = iter(shown)
        self._left = len(shown)

    def rewrite(self, page: pikepdf.Page) -> None:
        """Change the page: its own streams, and copies of the forms that hold such text."""
        page.obj.Resources = self._own(page.resources)
        found = self._container(page, page.obj.Resources, 0)
        if self._left:
            raise NotPossible(f"{self._left} text objects more than operators")
        if found is not None:
            page.obj.Contents = self._pdf.make_stream(found)

    def _container(self, container: Any, resources: Any, depth: int) -> bytes | None:
        """The new content of a page or form; None if it does not change."""
        read = pikepdf.parse_content_stream(container)
        written: list[Any] = []
        font: Any = None
        saved: list[Any] = []
        changed = False
        for index, instruction in enumerate(read):
            operands, operator = list(instruction.operands), str(instruction.operator)
            if operator == "q":
                saved.append(font)
            elif operator == "Q":
                font = saved.pop() if saved else font
            elif operator == "Tf":
                font = _named(resources, "/Font", operands[0])
                if self._fonts is not None:
                    changed |= self._with_blank_font(operands, resources, font)
            elif operator in SHOW and any(strings_of(operands[-1])):
                following = (read[later] for later in range(index + 1, len(read)))
                new = self._text(operands, operator, font, following)
                if new is not None:
                    written += new
                    changed = True
                    continue
            elif operator == "Do":
                changed |= self._form(operands, resources, depth)
            elif operator == "BDC" and self._fonts is not None:
                changed |= _without_replacement(operands, resources)
            written.append(
                instruction
                if operator == "INLINE IMAGE"
                else pikepdf.ContentStreamInstruction(operands, instruction.operator)
            )
        return pikepdf.unparse_content_stream(written) if changed else None

    def _text(
        self, operands: list[Any], operator: str, font: Any, following: Iterable[Any]
    ) -> list[Any] | None:
        """The instructions in place of an operator that shows text; None: it stays."""
        self._left -= 1
        shown = next(self._shown, None)
        if shown is None:
            raise NotPossible("more operators than text objects")
        if self._fonts is not None and not shown.hidden:
            self._fonts.shows(font, strings_of(operands[-1]))
        if not (shown.hidden or shown.partly):
            return None
        items = rest_of(operands[-1], font, shown, following)
        new: list[tuple[list[Any], str]] = [([], "T*")] if operator in ("'", '"') else []
        if operator == '"':
            new = [([operands[0]], "Tw"), ([operands[1]], "Tc"), *new]
        if items:
            new.append(([pikepdf.Array(items)], "TJ"))
        return [pikepdf.ContentStreamInstruction(o, Operator(name)) for o, name in new]

    def _form(self, operands: list[Any], resources: Any, depth: int) -> bool:
        """Replace a form by a copy without the text; False if it has none to take out."""
        form = _named(resources, "/XObject", operands[0])
        if not isinstance(form, pikepdf.Stream) or form.get("/Subtype") != Name.Form:
            return False
        if depth >= _MAX_NESTING:
            raise NotPossible("forms within forms")
        inner = self._own(form.get("/Resources", resources))
        content = self._container(form, inner, depth + 1)
        if content is None:
            return False
        copy = self._pdf.make_stream(content)
        for key, value in form.items():
            if key not in ("/Length", "/Filter", "/DecodeParms", "/Resources"):
                copy[key] = value
        copy.Resources = inner
        operands[0] = _added(resources, "/XObject", "/NjX", self._pdf.make_indirect(copy))
        return True

    def _with_blank_font(self, operands: list[Any], resources: Any, font: Any) -> bool:
        assert self._fonts is not None
        if not isinstance(font, pikepdf.Dictionary):
            return False
        operands[0] = _added(resources, "/Font", "/NjF", self._fonts.copy_of(font))
        return True

    def _own(self, resources: Any) -> Any:
        """A copy of resources that this page alone has, two levels deep."""
        copy = pikepdf.Dictionary({})
        for key, value in resources.items():
            is_table = isinstance(value, pikepdf.Dictionary) and key in ("/Font", "/XObject")
            copy[key] = pikepdf.Dictionary(dict(value.items())) if is_table else value
        return copy


def _named(resources: Any, table: str, name: Any) -> Any:
    found = resources.get(table)
    return found.get(str(name)) if isinstance(found, pikepdf.Dictionary) else None


def _added(resources: Any, table: str, prefix: str, value: Any) -> Name:
    """Add an object to resources under a new name; an object that is there keeps its name."""
    if table not in resources:
        resources[table] = pikepdf.Dictionary({})
    entries = resources[table]
    number = 0
    while (name := f"{prefix}{number}") in entries:
        if entries[name].objgen == value.objgen:
            return Name(name)
        number += 1
    entries[name] = value
    return Name(name)


def _without_replacement(operands: list[Any], resources: Any) -> bool:
    """Drop /ActualText of marked content, by which copying gives another text than is drawn."""
    properties = operands[1]
    if isinstance(properties, pikepdf.Name):
        properties = _named(resources, "/Properties", properties)
    if not isinstance(properties, pikepdf.Dictionary) or "/ActualText" not in properties:
        return False
    kept = {key: value for key, value in properties.items() if key != "/ActualText"}
    operands[1] = pikepdf.Dictionary(kept)
    return True
