"""Pixels that one model has decoded, kept for another model of the same process."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from weakref import WeakKeyDictionary

from torch import Tensor

#: Maximum bytes of pixels that are kept: 14 images of 12 megapixels.
KEPT_BYTES = 512 << 20
#: Height and width of a model that needs every pixel.
FULL = (1 << 30, 1 << 30)


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
        self._takers: WeakKeyDictionary[object, tuple[int, int]] = WeakKeyDictionary()
        self._lock = Lock()

    @property
    def held(self) -> int:
        """Bytes of the pixels that are kept now."""
        return self._held

    def expect(self, taker: object, need: tuple[int, int] = FULL) -> None:
        """Keep pixels from now on, as long as `taker` lives. `need`: height, width that suffice."""
        self._takers[taker] = need

    def forget(self, taker: object) -> None:
        """End what `expect` began, before `taker` dies."""
        self._takers.pop(taker, None)

    @property
    def need(self) -> tuple[int, int]:
        """Height and width that suffice for every taker; (1, 1) without takers."""
        needs = [(1, 1), *self._takers.values()]
        return max(height for height, _ in needs), max(width for _, width in needs)

    def keep(self, data: bytes, pixels: Tensor) -> None:
        """Keep the pixels, uint8 (3, height, width), of the file `data`, if there is room."""
        with self._lock:
            if self._takers and self._held + pixels.nbytes <= self._limit:
                self._drop(_key(data))
                self._images[_key(data)] = _Kept(data, pixels)
                self._held += pixels.nbytes

    def take(self, data: bytes, need: tuple[int, int] = (1, 1)) -> Tensor | None:
        """The pixels of the file `data`, which are then no longer kept.

        None if they are not kept, or with fewer rows or columns than `need`.
        """
        with self._lock:
            kept = self._images.get(_key(data))
            if kept is None or kept.data != data:
                return None
            pixels = self._drop(_key(data))
        if pixels is None or pixels.shape[1] < need[0] or pixels.shape[2] < need[1]:
            return None
        return pixels

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
