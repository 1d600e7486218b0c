"""Pages with a known reading order, rendered with free fonts: the judge set of reading order.

`page(kind, seed)` sets one page; the same seed gives the same page. Tables are read by rows, prose
in columns by columns, a note in the margin after or before the text beside it as it stands to its
right or left, and a header or footer before or after the page's text.
"""

from __future__ import annotations

from collections.abc import Callable

from parts.pages.page_setter import Setter
from parts.pages.page_sheet import Sheet


def _columns(count: int, gutter: tuple[float, float]) -> Callable[[int, bool], Sheet]:
    def of(seed: int, japanese: bool = False) -> Sheet:
        page = Setter(seed, japanese)
        page.header()
        y = page.headline(page.top) if page.chance.random() < 0.5 else page.top + page.sheet.size
        space = page.chance.uniform(*gutter) * page.sheet.size
        page.columns(count, y, page.bottom, space)
        page.footer()
        return page.sheet

    return of


def _side_notes(seed: int) -> Sheet:
    """One column of prose and notes in a smaller size in its left or right margin."""
    page = Setter(seed)
    page.header()
    small = page.sheet.size - 6
    at_left = page.chance.random() < 0.5
    note = (page.left, page.left + 210) if at_left else (page.right - 210, page.right)
    body = (page.left + 250, page.right) if at_left else (page.left, page.right - 250)
    parts = [
        lambda: _notes(page, note, small),
        lambda: _paragraphs(page, body[0], body[1]),
    ]
    for part in parts if at_left else parts[::-1]:
        part()
    page.footer()
    return page.sheet


def _notes(page: Setter, ends: tuple[float, float], size: int) -> None:
    y = page.top + page.sheet.size
    for _ in range(page.chance.randint(2, 4)):
        y += page.chance.uniform(0, 250)
        text = page.texts.paragraph(1)
        y = page.sheet.prose((ends[0], y, ends[1], page.bottom - 200), text, size * 1.3, size=size)


def _paragraphs(page: Setter, x0: float, x1: float) -> None:
    y = page.top + page.sheet.size
    while y < page.bottom:
        text = page.texts.paragraph(4)
        y = page.sheet.prose((x0, y, x1, page.bottom), text, page.step) + 0.5 * page.step


def _captions(seed: int) -> Sheet:
    """Two columns, each with a picture and its caption, in a smaller size, somewhere in it."""
    page = Setter(seed)
    page.header()
    y = page.headline(page.top)
    gutter = page.chance.uniform(1.2, 3) * page.sheet.size
    width = (page.right - page.left - gutter) / 2
    for x in (page.left, page.left + width + gutter):
        cut = page.chance.uniform(y + 100, page.bottom - 500)
        low = _filled(page, x, x + width, y, cut)
        height = page.chance.uniform(150, 300)
        page.sheet.pictures.append((x, low, x + width, low + height))
        text, size = page.texts.paragraph(1), page.sheet.size - 4
        low += height + 1.5 * size
        low = page.sheet.prose((x, low, x + width, page.bottom), text, 1.3 * size, size=size)
        _filled(page, x, x + width, low + page.step, page.bottom)
    page.footer()
    return page.sheet


def _filled(page: Setter, x0: float, x1: float, y: float, bottom: float) -> float:
    while y < bottom:
        y = page.sheet.prose((x0, y, x1, bottom), page.texts.paragraph(3), page.step)
    return y


def _tables(seed: int) -> Sheet:
    """A register of two to five equal columns of texts between two paragraphs."""
    page = Setter(seed)
    page.header()
    y = page.full(page.top + page.sheet.size, page.chance.randint(0, 2)) + page.step
    count, texts = page.chance.randint(2, 5), page.texts
    kinds = page.chance.choices(
        (texts.cell, texts.name, texts.town, texts.goods, texts.date), k=count
    )
    y = page.table(y, page.chance.randint(5, 22), kinds, "l" * count)
    page.full(y + page.step, page.chance.randint(0, 1))
    page.footer()
    return page.sheet


def _wrapped(seed: int) -> Sheet:
    """A table of two columns whose cells have one to four lines, read cell by cell."""
    page = Setter(seed)
    y = page.headline(page.top)
    width, gutter = (page.right - page.left) / 2, 2 * page.sheet.size
    for _ in range(page.chance.randint(4, 7)):
        low = y
        for x in (page.left, page.left + width):
            text = page.texts.paragraph(page.chance.randint(1, 2))
            box = (x, y, x + width - gutter, page.bottom)
            low = max(low, page.sheet.prose(box, text, page.step))
        y = low + page.step * page.chance.uniform(0.6, 1)
    page.footer()
    return page.sheet


def _articles(seed: int) -> Sheet:
    """One column of prose beside an article of two columns under a headline of its own."""
    page = Setter(seed)
    page.header()
    gutter, top = page.chance.uniform(1.2, 2) * page.sheet.size, page.top + page.sheet.size
    width = (page.right - page.left - 2 * gutter) / 3
    _filled(page, page.left, page.left + width, top, page.bottom)
    size, x = round(1.6 * page.sheet.size), page.left + width + gutter
    title = page.texts.title(5)
    while page.sheet.length(title, size) > 2 * width:
        title = title.rsplit(" ", 1)[0]
    page.sheet.line(x, top + size, title, size)
    for start in (x, x + width + gutter):
        _filled(page, start, start + width, top + 1.6 * size + page.step, page.bottom)
    page.footer()
    return page.sheet


def _columns_and_table(seed: int) -> Sheet:
    """Two columns of prose above or below a table of three."""
    page = Setter(seed)
    y = page.headline(page.top)
    texts, gutter = page.texts, page.chance.uniform(1.2, 3) * page.sheet.size
    fields, middle = [texts.name, texts.town, texts.price], page.top + 750
    if page.chance.random() < 0.5:
        low = page.columns(2, y, middle, gutter)
        page.table(low + 2 * page.step, 8, fields, "llr")
    else:
        low = page.table(y, 8, fields, "llr")
        page.columns(2, low + 1.5 * page.step, page.bottom, gutter)
    page.footer()
    return page.sheet


def _receipt(seed: int) -> Sheet:
    """Items with one or two prices; 620 pixels wide."""
    page = Setter(seed)
    sheet, texts, two = page.sheet, page.texts, page.chance.random() < 0.6
    sheet.width, page.left, page.right = 640, 50, 590
    sheet.height = 1300
    sheet.size = min(sheet.size, 23)
    y = 80.0
    for text in (texts.title(2), texts.town(), "Tel. 01632 960 144"):
        sheet.line((640 - sheet.length(text)) / 2, y, text)
        y += page.step
    sheet.row(y + page.step, [(50, texts.date()), (590 - sheet.length("10:42"), "10:42")])
    y += 2.5 * page.step
    for _ in range(page.chance.randint(6, 18)):
        price, unit = texts.price(), texts.price(9)
        item = page.fitting(texts.goods, 250)
        middle = [(430 - sheet.length(unit), unit)] if two else []
        sheet.row(y, [(50, item), *middle, (590 - sheet.length(price), price)])
        y += page.step
    y += page.step
    for text in ("SUBTOTAL", "VAT 20 %", "TOTAL", "CARD"):
        price = texts.price(200)
        sheet.row(y, [(50, text), (590 - sheet.length(price), price)])
        y += page.step
    for text in (texts.title(3), texts.sentence()[:30]):
        sheet.line((640 - sheet.length(text)) / 2, y + page.step, text)
        y += page.step
    return sheet


def _price_list(seed: int) -> Sheet:
    """Groups of goods with prices, one above the other, headed by a line each."""
    page = Setter(seed)
    y = page.headline(page.top)
    for _ in range(page.chance.randint(2, 4)):
        if y > page.bottom:
            break
        page.sheet.line(page.left, y, page.texts.title(2))
        rows = page.chance.randint(3, 9)
        y = page.table(y + page.step, rows, [page.texts.goods, page.texts.price], "lr")
        y += 0.8 * page.step
    page.footer()
    return page.sheet


_LABELS = (
    *("Name:", "Born on:", "Address:", "Town:", "Telephone:"),
    *("Trade:", "Number:", "Place of issue:", "Remarks:"),
)


def _form(seed: int) -> Sheet:
    """Labels and values, one or two pairs in a row, some without a value."""
    page = Setter(seed)
    y = page.headline(page.top)
    texts, pairs = page.texts, page.chance.randint(1, 2)

    def value() -> str:
        return "" if page.chance.random() < 0.2 else texts.cell()

    def label() -> str:
        return page.chance.choice(_LABELS)

    for _ in range(page.chance.randint(1, 3)):
        page.sheet.line(page.left, y, texts.title(2))
        rows = page.chance.randint(4, 8)
        y = page.table(y + 1.3 * page.step, rows, [label, value] * pairs, "ll" * pairs) + page.step
    page.footer()
    return page.sheet


def _letter(seed: int) -> Sheet:
    """Letterhead, address left, date right, paragraphs, two signatures."""
    page = Setter(seed)
    y = page.headline(page.top - 60)
    texts, sheet = page.texts, page.sheet
    for _ in range(page.chance.randint(3, 4)):
        sheet.line(page.left, y, page.fitting(texts.cell, 500))
        y += page.step
    date = texts.date()
    sheet.line(page.right - sheet.length(date), y + page.step, date)
    y += 3 * page.step
    sheet.line(page.left, y, f"Dear {texts.name()},")
    y = page.full(y + 1.6 * page.step, page.chance.randint(2, 4)) + page.step
    sheet.row(y, [(page.left, texts.name()), (page.left + 560, texts.name())])
    sheet.row(y + page.step, [(page.left, "Director"), (page.left + 560, "Keeper of Records")])
    page.footer()
    return sheet


def _vertical(seed: int) -> Sheet:
    """Vertical Japanese in one or two tiers."""
    page = Setter(seed, japanese=True)
    tiers = page.chance.randint(1, 2)
    height = (page.bottom - page.top - (tiers - 1) * 90) // tiers
    fit = height // page.sheet.size
    for tier in range(tiers):
        text = page.texts.paragraph(40)
        lines = [text[at : at + fit] for at in range(0, len(text), fit)]
        count = min(len(lines), 1000 // (2 * page.sheet.size))
        page.sheet.column(
            page.right - page.sheet.size, page.top + tier * (height + 90), lines[:count]
        )
    return page.sheet


def _japanese(seed: int) -> Sheet:
    return _columns(1 + seed % 2, (1.5, 3.0))(seed, True)


_WIDE, _NARROW = (1.2, 3.0), (0.6, 0.8)

KINDS: dict[str, Callable[..., Sheet]] = {
    "one column": _columns(1, _WIDE),
    "two columns": _columns(2, _WIDE),
    "three columns": _columns(3, _WIDE),
    "four columns": _columns(4, _WIDE),
    "two columns, narrow gutter": _columns(2, _NARROW),
    "three columns, narrow gutter": _columns(3, _NARROW),
    "side notes": _side_notes,
    "pictures with captions": _captions,
    "articles": _articles,
    "register": _tables,
    "wrapped cells": _wrapped,
    "columns and table": _columns_and_table,
    "receipt": _receipt,
    "price list": _price_list,
    "form": _form,
    "letter": _letter,
    "Japanese columns": _japanese,
    "vertical Japanese": _vertical,
}


def page(kind: str, seed: int) -> Sheet:
    """A page of one of KINDS."""
    return KINDS[kind](seed)
