"""The ink of line crops: its width, and whether it is a row of one mark."""

from __future__ import annotations

import numpy as np

from actors.ocr.pp_ocr.detection import Image

#: Range of gray values below which a column has no ink, and share of the line's range.
_FAINTEST, _SHARE = 30, 0.4
#: Every second column is taken. Distances between marks in these columns, and the correlation from
#: which a line repeats itself. On 63 receipts and a Cyrillic page rows of asterisks have 0.85 and
#: more, weakly read text up to 0.4.
_STEP, _DISTANCES, _ALIKE = 2, np.arange(5, 31), 0.75


def ink_columns(crop: Image) -> int:
    """Columns with ink of a BGR line (48, W, 3)."""
    rows = crop[::2].reshape(-1, 3 * crop.shape[1])  # whole rows: three times as fast
    spread = (rows.max(axis=0) - rows.min(axis=0))[1::3]
    return int((spread > max(_FAINTEST, _SHARE * float(spread.max()))).sum())


def repeats(crop: Image) -> bool:
    """Whether a BGR line (48, W, 3) is a row of one mark, such as asterisks.

    By the autocorrelation of the brightness of its columns; false for lines of a few marks.
    """
    columns = crop[::2, ::_STEP, 1].mean(axis=0)
    columns = columns - columns.mean()
    count, energy = len(columns), float(columns @ columns)
    if count < 3 * _DISTANCES[-1] or not energy:
        return False
    products = np.correlate(columns, columns, "full")[count - 1 :]
    shares = products[_DISTANCES] / energy * count / (count - _DISTANCES)
    return float(shares.max()) > _ALIKE
