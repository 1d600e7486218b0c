"""Line crops of many pages -> batches without padding, in few shapes.

A recogniser pays for every column: about 16 microseconds in bf16 on a CPU with AMX in batches of 4,
20 alone, 55 in f32 (measured, one thread). RapidOCR pads every crop to at least 320 columns and to
the widest of a batch of 6 in page order: over the lines of 63 receipts 1.5 times the columns of
crops pooled and sorted, for the same error rate. Here a crop has one of the widths of
`shapes.LINE_WIDTHS`, so that batches of equal widths need no padding at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from actors.ocr.pp_ocr.shapes import LINE_WIDTHS

#: Empty columns behind a line: without them its last character suffers. Order-free CER of 40
#: receipts: 2.59 % with 0, 2.51 % with 16, 2.42 % with 48, 2.48 % with RapidOCR's floor of 320.
TAIL = 32


def line_columns(natural: float) -> int:
    """Columns to give to a line that is `natural` columns wide at the recogniser's height."""
    return max(LINE_WIDTHS.nearest(natural + TAIL) - TAIL, LINE_WIDTHS.sizes[0])


def pack(widths: Sequence[int], size: int) -> list[list[int]]:
    """Indices of the crops in batches of exactly `size` crops of one width, the rest alone.

    Exactly, because a batch of 3 would be one more shape for the engine to prepare and to keep.
    """
    by_width: dict[int, list[int]] = defaultdict(list)
    for index, width in enumerate(widths):
        by_width[width].append(index)
    batches: list[list[int]] = []
    for width in sorted(by_width):
        group = by_width[width]
        whole = len(group) - len(group) % size
        batches += [group[i : i + size] for i in range(0, whole, size)]
        batches += [[index] for index in group[whole:]]
    return batches
