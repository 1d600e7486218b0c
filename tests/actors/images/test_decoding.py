"""Pixels of files: bit by bit those of Pillow, and the same files are refused."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from actors.failures import FailureKind, ItemFailure
from actors.images import decoding
from actors.images.device_jpeg import DeviceJpeg, device_jpeg
from actors.images.encoded import EncodedImage
from actors.images.kept import KEPT, KeptPixels


@cache
def scene() -> Image.Image:
    """Colours with edges and noise, 201 x 151: no side is a multiple of a JPEG's blocks."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((201, 151), Image.Resampling.BICUBIC))
    noise = rng.integers(-20, 20, smooth.shape)
    return Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg(**options: Any) -> bytes:
    return file_of(scene(), "JPEG", **options)


def png(mode: str = "RGB", **options: Any) -> bytes:
    return file_of(scene().convert(mode), "PNG", **options)


def with_gamma(file: bytes) -> bytes:
    """A PNG with a gAMA chunk, which neither decoder applies."""
    body = b"gAMA" + struct.pack(">I", 45455)
    return file[:33] + struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body)) + file[33:]


def turned() -> bytes:
    """A JPEG whose EXIF data says that it lies on its side; the decoder must not turn it."""
    exif = Image.Exif()
    exif[0x112] = 6
    return jpeg(exif=exif.tobytes())


def sixteen_bits() -> bytes:
    gray = np.asarray(scene().convert("L")).astype(np.uint16)
    return file_of(Image.fromarray(gray * 257 + 3), "PNG")


FILES: dict[str, Callable[[], bytes]] = {
    "jpeg 4:4:4": lambda: jpeg(subsampling=0, quality=95),
    "jpeg 4:2:2": lambda: jpeg(subsampling=1, quality=90),
    "jpeg 4:2:0": lambda: jpeg(subsampling=2, quality=75),
    "jpeg progressive": lambda: jpeg(progressive=True, quality=40),
    "jpeg gray": lambda: file_of(scene().convert("L"), "JPEG"),
    "jpeg of RGB": lambda: jpeg(keep_rgb=True),
    "jpeg with restarts": lambda: jpeg(restart_marker_blocks=7),
    "jpeg turned": turned,
    "png gray": lambda: png("L"),
    "png RGB": png,
    "png alpha": lambda: file_of(with_alpha("RGBA"), "PNG"),
    "png gray alpha": lambda: file_of(with_alpha("LA"), "PNG"),
    "png palette": lambda: png("P"),
    "png gamma": lambda: with_gamma(png()),
}
OTHERS: dict[str, Callable[[], bytes]] = {
    "jpeg CMYK": lambda: file_of(scene().convert("CMYK"), "JPEG"),
    "png 16 bits": sixteen_bits,
    "png 1 bit": lambda: png("1"),
    "png transparent colour": lambda: png(transparency=(1, 2, 3)),
    "gif": lambda: file_of(scene(), "GIF"),
    "webp": lambda: file_of(scene(), "WEBP"),
    "tiff": lambda: file_of(scene(), "TIFF"),
}


def with_alpha(mode: str) -> Image.Image:
    image = scene().convert("RGBA")
    image.putalpha(scene().convert("L"))
    return image.convert(mode)


def by_pillow(data: bytes) -> np.ndarray[Any, Any]:
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("name", [*FILES, *OTHERS])
def test_pixels_are_those_of_pillow(name: str) -> None:
    data = (FILES | OTHERS)[name]()
    file = decoding.opened(data)
    assert decoding._same_in_opencv(file, data) == (name in FILES)
    if name in FILES:
        assert decoding._by_opencv(data) is not None
    expected = by_pillow(data)
    np.testing.assert_array_equal(decoding.decoded(file, data), expected)
    np.testing.assert_array_equal(np.asarray(decoding.rgb(data)), expected)


def test_odd_sizes_are_those_of_pillow() -> None:
    for size in ((1, 1), (1, 300), (300, 2), (17, 9), (15, 16), (8, 8)):
        data = file_of(scene().resize(size), "JPEG", quality=80)
        np.testing.assert_array_equal(
            decoding.decoded(decoding.opened(data), data), by_pillow(data)
        )


@pytest.mark.parametrize("name", ["jpeg 4:4:4", "jpeg 4:2:0", "jpeg gray", "jpeg turned"])
@pytest.mark.parametrize("by", [2, 4, 8])
def test_reduced_pixels_are_those_of_pillow(name: str, by: int) -> None:
    data = FILES[name]()
    drafted = Image.open(io.BytesIO(data))
    drafted.draft("RGB", (201 // by, 151 // by))
    found = decoding.decoded(decoding.opened(data), data, (151 // by, 201 // by))
    np.testing.assert_array_equal(found, np.array(drafted.convert("RGB")))


@pytest.mark.parametrize("name", ["jpeg 4:2:0", "jpeg progressive", "jpeg gray", "png RGB"])
def test_a_file_that_ends_early_is_refused_as_by_pillow(name: str) -> None:
    whole = FILES[name]()
    for length in (*range(20, len(whole), len(whole) // 25), len(whole) - 1, len(whole) - 2):
        data = whole[:length]
        try:
            expected = by_pillow(data)
        except Exception:
            with pytest.raises(ItemFailure) as caught:
                decoding.decoded(decoding.opened(data), data)
            assert caught.value.kind == FailureKind.CORRUPT_IMAGE
        else:  # a PNG without its last chunk
            np.testing.assert_array_equal(decoding.decoded(decoding.opened(data), data), expected)


def test_a_file_of_too_many_pixels_is_refused_by_its_header(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 201 * 151 // 3)
    with pytest.raises(ItemFailure) as caught:
        EncodedImage(jpeg())
    assert caught.value.kind == FailureKind.TOO_MANY_PIXELS


@pytest.fixture
def taker() -> Iterator[object]:
    """A model that wants the pixels of the others."""

    class Taker:
        pass

    own = Taker()
    KEPT.clear()
    KEPT.expect(own)
    yield own
    KEPT.clear()


def test_pixels_decoded_by_one_model_serve_the_next(taker: object) -> None:
    data = jpeg()
    first = EncodedImage(data, keep=True).whole()
    assert KEPT.held == 201 * 151 * 3
    again = EncodedImage(bytes(bytearray(data))).whole()  # equal bytes, as from another column
    assert isinstance(first, torch.Tensor)
    assert isinstance(again, torch.Tensor)
    assert again.data_ptr() == first.data_ptr()
    assert KEPT.held == 0, "they are kept for one taker"
    anew = EncodedImage(data).whole()
    assert isinstance(anew, torch.Tensor)
    assert torch.equal(anew, first)


def test_other_bytes_never_get_the_pixels(taker: object) -> None:
    data = jpeg()
    EncodedImage(data, keep=True).whole()
    changed = bytearray(data)
    changed[-40] ^= 1  # same length, same middle, same end
    assert KEPT.take(bytes(changed)) is None
    assert KEPT.take(data) is not None


def test_nothing_is_kept_without_a_taker_or_beyond_the_limit() -> None:
    pixels = torch.zeros(3, 10, 10, dtype=torch.uint8)
    kept = KeptPixels(limit=700)
    kept.keep(b"a", pixels)
    assert kept.held == 0
    taker = EncodedImage(jpeg())  # any object
    kept.expect(taker)
    for name in (b"a", b"b", b"c"):
        kept.keep(name, pixels)
    assert kept.held == 600
    kept.keep(b"b", pixels)
    assert kept.held == 600
    assert kept.take(b"c") is None
    assert kept.take(b"a") is not None
    kept.clear()
    assert (kept.held, kept.take(b"b")) == (0, None)
    del taker
    kept.keep(b"a", pixels)
    assert kept.held == 0


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("jpeg")])
def test_the_device_decodes_a_jpeg_to_the_same_pixels(name: str) -> None:
    """On a CPU; nvJPEG has the same call."""
    data = FILES[name]()
    whole = torch.from_numpy(by_pillow(data)).permute(2, 0, 1)
    decode = DeviceJpeg(torch.device("cpu"))
    found = decode(data)
    assert found is not None
    assert torch.equal(found, whole)
    assert torch.equal(EncodedImage(data, jpeg=decode).whole(), whole)


def test_the_host_decodes_what_the_device_cannot() -> None:
    decode = DeviceJpeg(torch.device("cpu"))
    for data in (png(), OTHERS["jpeg CMYK"]()):
        whole = torch.from_numpy(by_pillow(data)).permute(2, 0, 1)
        assert torch.equal(EncodedImage(data, jpeg=decode).whole(), whole)
    half = jpeg()[:3000]
    fault = EncodedImage(half, jpeg=decode).whole()
    assert isinstance(fault, ItemFailure)
    assert fault.kind == FailureKind.CORRUPT_IMAGE
    assert device_jpeg(True, torch.device("cpu")) is None


def test_crops_of_one_image_may_come_from_several_threads() -> None:
    data = png()
    picture = EncodedImage(data)
    picture.crops = 8
    boxes = [(x, 0, x + 25, 151) for x in range(0, 200, 25)]
    with ThreadPoolExecutor(4) as pool:
        crops = list(pool.map(picture.crop, boxes))
    whole = torch.from_numpy(by_pillow(data)).permute(2, 0, 1)
    assert picture.crops == 0
    for (x0, _, x1, _), crop in zip(boxes, crops, strict=True):
        assert isinstance(crop, torch.Tensor)
        assert torch.equal(crop, whole[:, :, x0:x1])
