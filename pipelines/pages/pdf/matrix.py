"""The matrix of a page object. Child process only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2.raw as pdfium_c

Matrix = npt.NDArray[np.float64]  #: (3, 3), for row vectors


def matrix_of(item: Any) -> Matrix:
    """From the object to the page or form that it lies in; of a form, that of its content."""
    found = pdfium_c.FS_MATRIX()
    pdfium_c.FPDFPageObj_GetMatrix(item, found)
    return np.array([[found.a, found.b, 0], [found.c, found.d, 0], [found.e, found.f, 1]])
