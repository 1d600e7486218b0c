"""One drawing in the image formats of cameras, scanners and archives."""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile
from bad_files import drawn
from PIL import Image

Bytes = npt.NDArray[np.uint8]


def drawing() -> Bytes:
    """uint8 RGB (240, 320, 3): text on paper, and three colours."""
    picture = np.asarray(drawn("Nightjar 42", (320, 240), 30).convert("RGB")).copy()
    for place, colour in enumerate(((200, 30, 30), (20, 140, 40), (30, 50, 210))):
        picture[150:210, 30 + 90 * place : 90 + 90 * place] = colour
    return picture


def saved(picture: Bytes | Image.Image, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(file, kind, **how)
    return file.getvalue()


def tiff(samples: npt.NDArray[np.generic], **how: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **how)
    return file.getvalue()


def many(*frames: tuple[npt.NDArray[np.generic], dict[str, object]]) -> bytes:
    """A TIFF with several frames."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for samples, how in frames:
            writer.write(samples, contiguous=False, metadata=None, **how)
    return file.getvalue()


def heic() -> bytes:
    import pillow_heif

    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(drawing())).save(file, quality=95)
    return file.getvalue()


def planes(picture: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return np.moveaxis(picture, -1, 0)


def floats() -> npt.NDArray[np.float32]:
    return drawing().astype(np.float32) / 255


def words() -> npt.NDArray[np.uint16]:
    """The drawing in 16 bits."""
    return drawing().astype(np.uint16) * 257


RGB = {"photometric": "rgb"}

#: File name -> maker. All show the drawing, some with losses or stretched.
FORMATS: dict[str, Callable[[], bytes]] = {
    "photo.jp2": lambda: saved(drawing(), "JPEG2000"),
    "lossy.jpx": lambda: saved(drawing(), "JPEG2000", quality_layers=[8], irreversible=True),
    "bare.j2k": lambda: saved(drawing(), "JPEG2000", no_jp2=True, tile_size=(128, 128)),
    "deep.jp2": lambda: imagecodecs.jpeg2k_encode(words(), codecformat="jp2", level=0),
    "alpha.jp2": lambda: saved(Image.fromarray(drawing()).convert("RGBA"), "JPEG2000"),
    "phone.avif": lambda: saved(drawing(), "AVIF", quality=95),
    "phone.heic": heic,
    "jpeg2000.tif": lambda: tiff(drawing(), compression="jpeg2000", **RGB),
    "jpeg2000_tiled.tif": lambda: tiff(drawing(), compression=33005, tile=(64, 64), **RGB),
    "jpeg2000_deep.tif": lambda: tiff(words(), compression=34712, **RGB),
    "jpeg2000_ycc.tif": lambda: tiff(
        cv2.cvtColor(drawing(), cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]], compression=33003, **RGB
    ),
    "float32.tif": lambda: tiff(floats(), **RGB),
    "float64.tif": lambda: tiff(floats().astype(np.float64), byteorder=">", **RGB),
    "float16.tif": lambda: tiff(floats().astype(np.float16), **RGB),
    "float_predictor.tif": lambda: tiff(floats(), compression="lzw", predictor=True, **RGB),
    "float_planar.tif": lambda: tiff(planes(floats()), planarconfig="separate", **RGB),
    "float_bands.tif": lambda: tiff(floats(), photometric="minisblack", planarconfig="contig"),
    "deep_rgb.tif": lambda: tiff(words(), compression="lzw", predictor=True, **RGB),
    "deep_planar.tif": lambda: tiff(
        planes(words()), planarconfig="separate", compression="deflate", rowsperstrip=7, **RGB
    ),
    "deep_big_endian.tif": lambda: tiff(words(), bigtiff=True, byteorder=">", **RGB),
    "deep_tiled.tif": lambda: tiff(words(), tile=(64, 48), compression="zstd", **RGB),
    "deep_rgb.png": lambda: cv2.imencode(".png", words()[..., ::-1])[1].tobytes(),
    "uint32.tif": lambda: tiff(words().astype(np.uint32) * 65537, **RGB),
    "planar.tif": lambda: tiff(planes(drawing()), planarconfig="separate", **RGB),
    "big.tif": lambda: tiff(drawing(), bigtiff=True, **RGB),
    "webp.tif": lambda: tiff(drawing(), compression="webp", **RGB),
    "jpeg.tif": lambda: saved(drawing(), "TIFF", compression="jpeg", quality=95),
    "ycbcr.tif": lambda: saved(Image.fromarray(drawing()).convert("YCbCr"), "TIFF"),
    "cmyk.tif": lambda: saved(Image.fromarray(drawing()).convert("CMYK"), "TIFF"),
    "cmyk16.tif": lambda: tiff(
        np.asarray(Image.fromarray(drawing()).convert("CMYK")).astype(np.uint16) * 257,
        photometric="separated",
    ),
    "lab.tif": lambda: tiff(
        cv2.cvtColor(drawing(), cv2.COLOR_RGB2Lab) ^ np.uint8([0, 128, 128]), photometric="cielab"
    ),
    "lab_icc.tif": lambda: tiff(cv2.cvtColor(drawing(), cv2.COLOR_RGB2Lab), photometric="icclab"),
    "alpha16.tif": lambda: tiff(
        np.dstack([words(), np.full((240, 320), 65535, np.uint16)]),
        extrasamples=["unassalpha"],
        **RGB,
    ),
    "near_infrared.tif": lambda: tiff(
        np.dstack([words(), words()[..., 0]]), extrasamples=["unspecified"], **RGB
    ),
}
