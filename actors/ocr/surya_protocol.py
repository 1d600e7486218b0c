"""Requests to Surya's server and its answers, in the format of surya-ocr 0.22.1.

The model was trained on exactly these prompts; do not reword them. Sources in the wheel:
`surya/inference/prompts.py`, `parsers.py`, `util.py`, `surya/recognition/__init__.py`. For the same
page our requests equal those of the package's client in every key and picture size, except for the
minimum tokens of a block (256 here, 64 there).
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from actors.endpoint.completion import quoted
from actors.endpoint.settings import EndpointConfig
from actors.failures import FailureKind, ItemFailure
from actors.ocr.pp_ocr.detection import Image

LAYOUT_PROMPT = (
    "Output the layout of this image as JSON. Each entry is a dict with "
    '"label", "bbox", and "count" fields. Bbox is x0 y0 x1 y1, normalized 0-1000.'
)
BLOCK_PROMPT = "OCR this block image to HTML."

_TYPES = (
    "Caption Footnote Equation-Block List-Group Page-Header Page-Footer Image Section-Header Table "
    "Text Complex-Block Code-Block Form Table-Of-Contents Figure Chemical-Block Diagram "
    "Bibliography Blank-Page"
)
_MOST_BLOCKS = 200
#: JSON schema of the answer. vLLM and llama.cpp constrain decoding to it.
LAYOUT_SCHEMA: dict[str, Any] = {
    "type": "array",
    "maxItems": _MOST_BLOCKS,
    "items": {
        "type": "object",
        "properties": {
            "label": {"type": "string", "enum": _TYPES.split()},
            "bbox": {"type": "string", "pattern": r"^\d{1,4} \d{1,4} \d{1,4} \d{1,4}$"},
            "count": {"type": "integer", "minimum": 0, "maximum": 10000},
        },
        "required": ["label", "bbox", "count"],
        "additionalProperties": False,
    },
}
_SCALE = 1000.0  # range of the model's coordinates

#: Block types without text.
PICTURES = frozenset({"figure", "image", "diagram", "blank_page"})
#: Running text. The model also reports such blocks on empty paper, so we check them for ink. Other
#: types may be faint.
RUNNING_TEXT = frozenset(
    {
        *("text", "section_header", "page_header", "page_footer", "caption", "footnote"),
        *("code_block", "bibliography"),
    }
)

#: The model's picture size: maximum and minimum pixels, sides multiples of 28.
_MOST_PIXELS, _LEAST_PIXELS, _GRID = 3072 * 2048, 1792 * 28, 28
#: Empty paper, as in surya-ocr: nearly all pixels near white, or all of one colour.
_NEAR_WHITE, _WHITE_SHARE, _ONE_COLOUR = 245, 0.99, 8.0


@dataclass(frozen=True)
class SuryaQuestion:
    """One request: a PNG with its size, the prompt, and sampling parameters."""

    png: bytes
    width: int
    height: int
    prompt: str
    tokens: int
    temperature: float = 0.0
    schema: dict[str, Any] | None = None

    def body(self, config: EndpointConfig) -> bytes:
        """The JSON of the request."""
        url = "data:image/png;base64," + base64.b64encode(self.png).decode()
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": self.prompt},
        ]
        keys: dict[str, Any] = {
            "model": config.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.tokens,
            "temperature": self.temperature,
            "top_p": 0.95 if self.temperature else 0.1,
            "logprobs": True,
        }
        if self.schema:
            form = {"name": "structured_output", "schema": self.schema, "strict": True}
            keys["response_format"] = {"type": "json_schema", "json_schema": form}
        return json.dumps(keys).encode()

    def max_tokens(self, config: EndpointConfig) -> int:
        """Maximum tokens of the answer."""
        return self.tokens

    def prompt_tokens(self) -> int:
        """Upper estimate: a token per 28 x 28 pixels and per character of the prompt."""
        return self.width * self.height // _GRID**2 + len(self.prompt)


@dataclass(frozen=True)
class Region:
    """A block of the layout.

    `box`: x0, y0, x1, y1, shares (0..1) of the page, clipped to it; None if the box is invalid or
    outside the page, with the reason in `fault`. `tokens`: the model's estimate for the text.
    """

    type: str
    box: tuple[float, float, float, float] | None
    tokens: int
    fault: str = ""


def read_layout(text: str) -> list[Region]:
    """The blocks of a layout answer, in reading order. Raises ItemFailure(VLM_GARBAGE).

    An unusable block stays in the list, because it stands for an unread part of the page.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        try:  # without constrained decoding, text may precede the array
            raw = json.loads(text[text.index("[") : text.rindex("]") + 1])
        except (ValueError, RecursionError):
            raise _garbage("the layout is not a JSON array", text) from None
    if not isinstance(raw, list):
        raise _garbage("the layout is not a JSON array", text)
    if len(raw) > _MOST_BLOCKS:
        raise _garbage(f"the layout has {len(raw)} blocks, more than {_MOST_BLOCKS}", "")
    return [_region(item) for item in raw]


def _region(item: Any) -> Region:
    if not isinstance(item, dict) or not isinstance(item.get("label"), str):
        return Region("unknown", None, 0, f"not a layout block: {quoted(item)}")
    kind = item["label"].strip().lower().replace("-", "_")[:50]
    count = item.get("count")
    tokens = count if isinstance(count, int) and 0 < count <= 10_000 else 0
    box = _box(item.get("bbox"))
    if box is None:
        return Region(kind, None, tokens, f"the box is invalid or outside the page: {quoted(item)}")
    return Region(kind, box, tokens)


def _box(said: Any) -> tuple[float, float, float, float] | None:
    parts = said.replace(",", " ").split() if isinstance(said, str) else said
    try:
        x0, y0, x1, y1 = (min(1.0, max(0.0, float(part) / _SCALE)) for part in parts)
    except (TypeError, ValueError):
        return None
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None  # None for NaN, too


def is_empty(crop: Image) -> bool:
    """Whether a crop (H, W, 3) shows only empty paper."""
    if float((crop.min(axis=2) >= _NEAR_WHITE).mean()) > _WHITE_SHARE:
        return True
    return float(crop.reshape(-1, 3).std(axis=0).max()) < _ONE_COLOUR


def fitted(image: Image, max_side: int | None = None) -> Image:
    """Resize `image` to a size that the model accepts.

    If `max_side` is set, the longer side is first reduced to it.
    """
    height, width = image.shape[:2]
    scale = min(1.0, max_side / max(height, width)) if max_side else 1.0
    pixels = height * width * scale**2
    if pixels > _MOST_PIXELS:
        scale *= math.sqrt(_MOST_PIXELS / pixels)
    elif pixels < _LEAST_PIXELS:
        scale *= math.sqrt(_LEAST_PIXELS / pixels)
    rows, columns = (max(1, round(side * scale / _GRID)) for side in (height, width))
    while rows * columns * _GRID**2 > _MOST_PIXELS:  # rounding up may exceed the limit
        rows, columns = (rows - 1, columns) if rows > columns else (rows, columns - 1)
    size = (columns * _GRID, rows * _GRID)
    if size == (width, height):
        return image
    shrinks = size[0] * size[1] < width * height
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def png(image: Image) -> bytes:
    """Encode `image` (H, W, 3) as PNG. Raises ItemFailure."""
    done, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, "OpenCV cannot encode the image as PNG")
    return bytes(np.asarray(data).tobytes())


def _garbage(what: str, text: str) -> ItemFailure:
    return ItemFailure(FailureKind.VLM_GARBAGE, f"{what}: {quoted(text)}" if text else what)
