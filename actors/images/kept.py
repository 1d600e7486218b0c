"""Pixels that one model has decoded, kept for another model of the same process."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from weakref import WeakSet

from torch import Tensor

#: Maximum bytes of pixels that are kept: 14 images of 12 megapixels.
KEPT_BYTES = 512 << 20


@dataclass(frozen=True)
class _Kept:
    data: bytes
    pixels: Tensor


class KeptPixels:
    """Decoded images by their encoded bytes, until they are taken or the batch has ended.

    The detector decodes all images of a batch before the segmenter of the same worker starts. A
    lookup compares all encoded bytes (0.2 ms for 4 MB, decoding takes 75), so another image is
    never taken. Nothing is kept unless a model has asked for it. Thread-safe.
    """

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        """`limit`: bytes of pixels; further images are not kept."""
        self._limit, self._held = limit, 0
        self._images: dict[int, _Kept] = {}
        self._takers: WeakSet[object] = WeakSet()
        self._lock = Lock()

    @property
    def held(self) -> int:
        """Bytes of the pixels that are kept now."""
        return self._held

    def expect(self, taker: object) -> None:
        """Keep pixels from now on, as long as `taker` lives."""
        self._takers.add(taker)

    def keep(self, data: bytes, pixels: Tensor) -> None:
        """Keep the pixels, uint8 (3, height, width), of the file `data`, if there is room."""
        with self._lock:
            if self._takers and self._held + pixels.nbytes <= self._limit:
                self._drop(_key(data))
                self._images[_key(data)] = _Kept(data, pixels)
                self._held += pixels.nbytes

    def take(self, data: bytes) -> Tensor | None:
        """The pixels of the file `data`, which are then no longer kept; None if they are not."""
        with self._lock:
            kept = self._images.get(_key(data))
            if kept is None or kept.data != data:
                return None
            return self._drop(_key(data))

    def clear(self) -> None:
        """Free all pixels."""
        with self._lock:
            self._images.clear()
            self._held = 0

    def _drop(self, key: int) -> Tensor | None:
        kept = self._images.pop(key, None)
        if kept is None:
            return None
        self._held -= kept.pixels.nbytes
        return kept.pixels


def _key(data: bytes) -> int:
    """Differs for most files: heads and tails of files are often equal, their middles are not."""
    middle = len(data) // 2
    return hash((len(data), data[middle : middle + 256]))


#: Of this process: detectors keep, segmenters take.
KEPT = KeptPixels()
