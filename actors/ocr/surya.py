"""Surya 2 as a text reader: blocks in reading order, tables as HTML, text with scores.

Since 0.20 Surya is a vision-language model behind vLLM or llama.cpp. This actor sends requests to
that server over the OpenAI protocol, like surya-ocr's own client. Any server with its checkpoint
works: ``vllm serve datalab-to/surya-ocr-2``.

We do not use the package surya-ocr. It needs a separate environment (pillow < 11, its own opencv,
torch) to replace 60 lines of code. Its client also hides errors (read in 0.22.1,
`surya/inference/backends/openai_client.py`): it ignores finish_reason, so a truncated block looks
complete; all errors become one flag without a reason; a missing probability becomes 1.0.

LICENCE: surya-ocr is Apache-2.0, its weights are OpenRAIL-M with conditions for larger companies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from actors.contract import appended
from actors.endpoint.actor import EndpointActor
from actors.endpoint.loops import find_loop
from actors.failures import FAILURE, FailureKind, FailureValue, ItemFailure, SetupError, failure
from actors.lines import READING, LineValue, ReadingValue
from actors.ocr.blocks import BLOCKS, BlockValue
from actors.ocr.html_lines import html_lines
from actors.ocr.pp_ocr.detection import DetectionConfig, Image, detector_input
from actors.ocr.pp_ocr.ink import coverage, ink_cells
from actors.ocr.pp_ocr.line_reader import decoded
from actors.ocr.surya_protocol import (
    BLOCK_PROMPT,
    LAYOUT_PROMPT,
    LAYOUT_SCHEMA,
    PICTURES,
    RUNNING_TEXT,
    Region,
    SuryaQuestion,
    fitted,
    is_empty,
    png,
    read_layout,
)
from actors.ocr.surya_settings import SuryaConfig, check_server, settled

if TYPE_CHECKING:
    from actors.endpoint.client import Answer

__all__ = ["Surya", "SuryaConfig"]

#: Maximum bytes of an answer. 8,192 tokens with their probabilities take about 1.5 MB.
_MAX_BODY = 8 << 20
#: Margin of a block's crop in pixels, as in surya-ocr.
_MARGIN = 4
#: Token limit of a block's answer: the layout's estimate plus a reserve, and its minimum.
_SPARE_TOKENS, _LEAST_TOKENS = 100, 256
#: Failures for which a second request can help.
_WORTH_ANOTHER = frozenset({"VLM_TRUNCATED", "VLM_LOOP", "VLM_GARBAGE"})


class SuryaRead(ReadingValue, total=False):
    """The columns that `Surya` writes for one page; a missing key is a null."""

    ocr_blocks: list[BlockValue] | None
    ocr_failure: FailureValue | None


@dataclass(frozen=True)
class _Block:
    """A block with its answer so far. `box`: pixels of the page."""

    region: Region
    box: list[float] | None
    html: str | None = None
    score: float | None = None
    failure: FailureValue | None = None

    def value(self) -> BlockValue:
        return {
            "type": self.region.type,
            "box": self.box,
            "html": self.html,
            "score": self.score,
            "failure": self.failure,
        }

    def lines(self) -> list[LineValue]:
        """The block's text lines. Their position is unknown, so each has the block's polygon."""
        if self.box is None or self.html is None:
            return []
        x0, y0, x1, y1 = self.box
        polygon = [x0, y0, x1, y0, x1, y1, x0, y1]
        score = None if self.failure else self.score
        return [
            {"text": text, "score": score, "polygon": polygon} for text in html_lines(self.html)
        ]


class Surya(EndpointActor[SuryaConfig]):
    """Reads pages: first the layout, then each block with text. A null `image` gives nulls.

    * `ocr_blocks`: see `actors.ocr.blocks`, in the model's reading order. Pictures have no `html`.
    * `ocr_lines`: the text lines of the blocks, each with the polygon and the score of its block.
      The score is null if the server gives no probabilities.
    * `ink_share`, `ink_covered`: as in `actors.ocr.rapid_ocr`. `text_outside` is null.
    * `ocr_failure`: CORRUPT_IMAGE, VLM_* or ENGINE_FAULT (see `actors.failures`). After a failed
      layout all other columns are null. If a block failed or has no box on the page, the other
      blocks are kept for review.

    Several threads may call it at once; they share the `concurrency` limit.
    """

    reads = pa.schema([("image", pa.binary())])
    writes = pa.schema([*READING, ("ocr_blocks", BLOCKS), ("ocr_failure", FAILURE)])
    failure_column = "ocr_failure"

    def __init__(self, config: SuryaConfig) -> None:
        """Raises SetupError if the URL is missing, no server answers or it lacks the model."""
        super().__init__(config)
        self._client = settled(config)
        key = self._client.key()
        check_server(self._client, key)
        self._connect(self._client, key, _MAX_BODY)
        self.engine = f"surya {config.model}"

    def provenance(self) -> dict[str, str]:
        return self._made_by(self.engine, self._client, LAYOUT_PROMPT, BLOCK_PROMPT)

    def __call__(self, rows: pa.Table) -> pa.Table:
        pages = self._asked(self._read_all(rows["image"].to_pylist()))
        return appended(rows, self.writes, pages)

    async def _read_all(self, images: Sequence[bytes | None]) -> list[SuryaRead]:
        return await asyncio.gather(*map(self._read, images))

    async def _read(self, image: bytes | None) -> SuryaRead:
        if image is None:
            return {}
        try:
            return await self._read_page(image)
        except ItemFailure as fault:
            return {"ocr_failure": fault.as_value()}
        except SetupError:  # the endpoint refuses every page: the run must stop
            raise
        except Exception:
            return {"ocr_failure": self._unknown()}

    async def _read_page(self, image: bytes) -> SuryaRead:
        page = await asyncio.to_thread(_page, image)
        question = await asyncio.to_thread(
            _question, page, LAYOUT_PROMPT, self.config.layout_tokens, self.config.layout_side
        )
        answer = await self._ask(
            replace(question, schema=LAYOUT_SCHEMA), self.config.layout_tokens, _layout_fault
        )
        if answer.failure:
            return {"ocr_failure": _about("the layout", answer.failure)}
        regions = read_layout(answer.text or "")
        blocks = await asyncio.gather(*(self._read_block(page, region) for region in regions))
        ink = await asyncio.to_thread(_ink, page, [block.box for block in blocks if block.lines()])
        return {
            "ocr_lines": [line for block in blocks for line in block.lines()],
            "ink_share": ink[0],
            "ink_covered": ink[1],
            "ocr_engine": self.engine,
            "ocr_blocks": [block.value() for block in blocks],
            "ocr_failure": _first_failure(blocks),
        }

    async def _read_block(self, page: Image, region: Region) -> _Block:
        if region.box is None:
            return _Block(region, None, failure=failure(FailureKind.VLM_GARBAGE, region.fault))
        box, crop, empty = _cut(page, region.box)
        empty = empty and region.type in RUNNING_TEXT
        if region.type in PICTURES or empty:
            return _Block(region, box, "" if empty else None)
        most = self.config.block_tokens
        tokens = min(most, max(_LEAST_TOKENS, region.tokens + _SPARE_TOKENS))
        question = await asyncio.to_thread(_question, crop, BLOCK_PROMPT, tokens)
        must_have_text = region.type in RUNNING_TEXT
        answer = await self._ask(
            question, most, lambda html: self._block_fault(html, must_have_text)
        )
        return _Block(region, box, answer.text, answer.probability, answer.failure)

    async def _ask(
        self,
        question: SuryaQuestion,
        most_tokens: int,
        fault: Callable[[str], FailureValue | None],
    ) -> Answer:
        """The first good answer, or the last one after `retries` retries."""
        for again in range(self.config.retries + 1):
            if again:
                question = replace(question, tokens=most_tokens, temperature=min(0.2 * again, 0.8))
            answer = await self._endpoint.ask(question)
            if not answer.failure:
                answer.failure = await asyncio.to_thread(fault, answer.text or "")
            if not answer.failure or answer.failure["kind"] not in _WORTH_ANOTHER:
                break
        return answer

    def _block_fault(self, html: str, must_have_text: bool) -> FailureValue | None:
        text = "\n".join(html_lines(html))
        if must_have_text and not text:
            return failure(
                FailureKind.VLM_GARBAGE, "the answer has no text, but the block is not empty"
            )
        loop = find_loop(text, self.config.loop)
        return failure(FailureKind.VLM_LOOP, loop) if loop else None


def _page(image: bytes) -> Image:
    page = decoded(image)
    if page is None:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, "OpenCV cannot decode the image")
    return page


def _question(image: Image, prompt: str, tokens: int, side: int | None = None) -> SuryaQuestion:
    picture = fitted(image, side)
    return SuryaQuestion(png(picture), picture.shape[1], picture.shape[0], prompt, tokens)


def _layout_fault(text: str) -> FailureValue | None:
    try:
        read_layout(text)
    except ItemFailure as fault:
        return fault.as_value()
    return None


def _cut(page: Image, shares: Sequence[float]) -> tuple[list[float], Image, bool]:
    """A region's box in pixels, its crop with a margin, and whether the box is empty paper."""
    height, width = page.shape[:2]
    box = [share * side for share, side in zip(shares, (width, height) * 2, strict=True)]
    left, top = (max(0, int(low) - _MARGIN) for low in box[:2])
    right, bottom = (int(high) + _MARGIN + 1 for high in box[2:])  # slices end at the page's edge
    inside = page[int(box[1]) : int(box[3]) + 1, int(box[0]) : int(box[2]) + 1]
    return box, page[top:bottom, left:right], is_empty(inside)


def _ink(page: Image, boxes: Sequence[list[float] | None]) -> tuple[float, float | None]:
    corners = [[[b[i], b[j]] for i, j in ((0, 1), (2, 1), (2, 3), (0, 3))] for b in boxes if b]
    polygons = np.array(corners, np.float32).reshape(-1, 4, 2)
    cells = ink_cells(detector_input(page, DetectionConfig()))
    return coverage(cells, polygons, (page.shape[0], page.shape[1]))


def _about(what: str, fault: FailureValue) -> FailureValue:
    return {"kind": fault["kind"], "message": f"{what}: {fault['message']}"[:2000]}


def _first_failure(blocks: Sequence[_Block]) -> FailureValue | None:
    failed = [(n, block.failure) for n, block in enumerate(blocks, 1) if block.failure]
    if not failed:
        return None
    number, first = failed[0]
    return _about(f"{len(failed)} of {len(blocks)} blocks failed; block {number}", first)
