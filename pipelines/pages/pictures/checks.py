"""JPEG and PNG files: faults that Pillow does not report, and forms that no decoder here reads."""

from __future__ import annotations

import os
import re
from tempfile import TemporaryFile

import cv2
import numpy as np
from cv2.typing import MatLike

from actors.failures import FailureKind, ItemFailure

#: Start of frame (SOF) by its second byte, without the markers DHT, JPG and DAC among them.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
_JPEG_LS = 0xF7


def refuse_rare_jpeg(data: bytes) -> None:
    """Raise UNSUPPORTED_KIND for a JPEG of 12 bits, a lossless one, and JPEG-LS."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in _FRAMES:
            bits, name = data[at + 4], ""
            if marker == _JPEG_LS:
                name = "JPEG-LS"
            elif marker in _LOSSLESS:
                name = "Lossless JPEG"
            elif bits != 8:
                name = f"JPEG of {bits} bits"
            if name:
                raise ItemFailure(FailureKind.UNSUPPORTED_KIND, f"{name} is not supported")
            return
        at += 2 + size


def check_jpeg(data: bytes) -> None:
    """Raise CORRUPT_IMAGE unless every scan of the JPEG is complete.

    Pillow and OpenCV report a JPEG that ends early. A truncated JPEG with an end marker only causes
    a warning, and its lower part is grey. Pillow drops the warning; OpenCV's libjpeg writes it to
    stderr.
    """
    decoded, said = _with_stderr(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    if decoded is None:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, f"truncated or damaged JPEG {said}".strip())
    # Extra bytes before a marker are harmless padding.
    warnings = re.findall(r"Corrupt JPEG data: (?!\d+ extraneous).*", said)
    if warnings:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, warnings[0])


def check_png(data: bytes) -> None:
    """Raise CORRUPT_IMAGE unless OpenCV, which is stricter than Pillow, decodes the PNG."""
    decoded, said = _with_stderr(data, cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, f"truncated or damaged PNG {said}".strip())


def _with_stderr(data: bytes, flags: int) -> tuple[MatLike | None, str]:
    """The decoded image (None on failure), and what the decoder wrote to stderr."""
    with TemporaryFile() as sink:
        kept = os.dup(2)
        os.dup2(sink.fileno(), 2)
        try:
            decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        sink.seek(0)
        return decoded, sink.read(2000).decode(errors="replace").strip()
