"""Tables that stay readable in a narrow terminal.

Rich squeezes columns until a table fits: at 80 columns `0.936 (0.90 .. 0.97)` breaks over three
lines, and three letters are left of a name. Here figures and words stay whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.styled import Styled
from rich.table import Table
from rich.text import Text

GAP = 2  #: spaces between two columns
INDENT = 2  #: of the figures below a name that has a line of its own
_NATURAL = 10_000  #: a width at which nothing wraps


class FittedTable(Table):
    """A table without rules: the first column holds names, the others figures.

    Too wide for the console, it wraps texts between words. If that is not enough, it goes on below
    with the next columns, beside the names again. Names that are too long for that, or would cost
    two parts more, stand on lines of their own.
    """

    def __init__(self, *headings: str, above: str = "", texts: Collection[str] = ()) -> None:
        """`above`: the title. `texts`: headings of columns that may wrap; left-aligned."""
        super().__init__(box=None, padding=(0, GAP, 0, 0), pad_edge=False)
        self._above, self._texts = above, texts
        for number, name in enumerate(headings):
            figures = number > 0 and name not in texts
            self.add_column(name, justify="right" if figures else "left")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._above:
            yield Text(self._above, style="table.title")
        names, *others = (self._span(console, options, n) for n in range(len(self.columns)))
        room = options.max_width
        if names.maximum + sum(GAP + one.maximum for one in others) <= room:
            yield from super().__rich_console__(console, options)
            return
        widest = max((one.minimum for one in others), default=0)
        most = room - GAP - widest
        beside = max(names.minimum, min(names.maximum, room // 3, most)) + GAP
        parts, fewer = list(_parts(others, room - beside)), list(_parts(others, room - INDENT))
        apart = names.minimum > most or len(parts) > len(fewer) + 1
        for number, widths in enumerate(fewer if apart else parts):
            if number:
                yield Text()
            if apart:
                yield from self._below_names(widths)
            else:
                spare = room - sum(GAP + width for width in widths.values())
                yield self._part({0: min(names.maximum, spare)} | widths, range(self.row_count))

    def _span(self, console: Console, options: ConsoleOptions, number: int) -> Measurement:
        """The least width without a broken word or figure, and the width without any wrapping."""
        column, wide = self.columns[number], options.update(max_width=_NATURAL)
        heading = Measurement.get(console, wide, column.header)
        cells = [Measurement.get(console, wide, cell) for cell in column.cells]
        most = max((one.maximum for one in cells), default=0)
        wraps = column.justify == "left"
        least = max((one.minimum for one in cells), default=0) if wraps else most
        return Measurement(max(least, heading.minimum), max(most, heading.maximum))

    def _part(self, widths: dict[int, int], rows: Sequence[int], header: bool = True) -> Table:
        """Some columns and rows. `widths`: column -> characters."""
        made = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False)
        made.show_header = header and self.show_header
        for number, width in widths.items():
            column = self.columns[number]
            made.add_column(column.header, justify=column.justify, width=width, overflow="fold")
        cells = [list(self.columns[number].cells) for number in widths]
        for row in rows:
            how = self.rows[row]
            picked = (column[row] for column in cells)
            made.add_row(*picked, style=how.style, end_section=how.end_section)
        return made

    def _below_names(self, widths: dict[int, int]) -> RenderResult:
        names = list(self.columns[0].cells)
        if self.columns[0].header:
            yield Styled(self.columns[0].header, "table.header")
        yield Padding(self._part(widths, []), (0, 0, 0, INDENT))
        for row, name in enumerate(names):
            yield name
            yield Padding(self._part(widths, [row], header=False), (0, 0, 0, INDENT))


def _parts(spans: Sequence[Measurement], room: int) -> Iterator[dict[int, int]]:
    """Column -> width, for columns from 1 that fit side by side into `room` characters."""
    part: dict[int, Measurement] = {}
    for number, span in enumerate(spans, 1):
        if part and _width([*part.values(), span]) > room:
            yield _widened(part, room)
            part = {}
        part[number] = span
    if part:
        yield _widened(part, room)


def _width(spans: Sequence[Measurement]) -> int:
    return sum(span.minimum for span in spans) + GAP * (len(spans) - 1)


def _widened(part: dict[int, Measurement], room: int) -> dict[int, int]:
    """The least widths, with the spare room for the texts that would wrap most often."""
    widths = {number: min(span.minimum, room) for number, span in part.items()}
    for _ in range(room - _width(list(part.values()))):
        number = max(widths, key=lambda one: part[one].maximum / max(1, widths[one]))
        if widths[number] >= part[number].maximum:
            break
        widths[number] += 1
    return widths
