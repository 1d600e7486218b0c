"""The fallback reader: a vision-language model behind an OpenAI-compatible endpoint.

Only pages that the first reader leaves in doubt are sent. What comes back is a reading, not a
decision: `pipelines.decisions.escalation` says whether it is believed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict, TypeVar

import pyarrow as pa

from actors.contract import appended
from actors.endpoint.actor import EndpointActor
from actors.endpoint.loops import find_loop
from actors.escalation.guards import implausible_line
from actors.escalation.question import Question
from actors.escalation.regions import line_pictures, page_picture, spliced, weak_lines
from actors.escalation.settings import VlmConfig
from actors.failures import FAILURE, FailureKind, FailureValue, ItemFailure, failure
from actors.lines import LINES, LineValue

if TYPE_CHECKING:
    from actors.endpoint.client import Answer

__all__ = ["USAGE", "Vlm", "VlmConfig"]

N = TypeVar("N", int, float)

#: What one row cost. Tokens are null where the endpoint does not count them, `money` without
#: prices. `seconds`: of its requests, summed, without waiting for a slot or between attempts.
USAGE = pa.struct(
    [
        ("requests", pa.int32()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
        ("money", pa.float64()),
        ("seconds", pa.float32()),
    ]
)


class UsageValue(TypedDict):
    """A value of USAGE."""

    requests: int
    prompt_tokens: int | None
    completion_tokens: int | None
    money: float | None
    seconds: float


class PageInDoubt(TypedDict):
    """What `Vlm` reads of a page that it asks about: there is an image, and some doubt."""

    image: bytes
    ocr_lines: list[LineValue] | None
    doubts: list[str]


class VlmRead(TypedDict, total=False):
    """What `Vlm` writes of one page; a missing key is a null."""

    vlm_text: str | None
    vlm_lines: list[LineValue] | None
    vlm_model: str | None
    vlm_usage: UsageValue | None
    vlm_failure: FailureValue | None


#: Doubts that no crop of a found line can answer: the page is sent whole.
_ABOUT_THE_PAGE = frozenset(
    {"no_text_found", "ink_not_covered", "text_outside_lines", "garbled_text"}
)
_BLANK = "blank_page"  # models read text on empty paper; it is not sent


class Vlm(EndpointActor[VlmConfig]):
    """Reads again the pages whose `doubts` (names, or ``name=value``) are not empty.

    All other rows, blank pages and rows without image get nulls, without work. Page mode:
    `vlm_text` is the answer, `vlm_lines` null. Regions mode: `vlm_lines` are the first reader's
    lines, the weak ones with the answer's texts and null scores, `vlm_text` their texts; a page
    whose doubts or number of weak lines make crops useless is sent whole. `vlm_model`: the model's
    name as the endpoint gives it. Failures: VLM_*, CORRUPT_IMAGE, ENGINE_FAULT; with
    VLM_TRUNCATED, VLM_LOOP and, of lines, any failure there may be a text, for review.

    May be called from several threads at once; `concurrency` holds for all of them together.
    """

    reads = pa.schema(
        [("image", pa.binary()), ("ocr_lines", LINES), ("doubts", pa.list_(pa.string()))]
    )
    writes = pa.schema(
        [
            ("vlm_text", pa.string()),
            ("vlm_lines", LINES),
            ("vlm_model", pa.string()),
            ("vlm_usage", USAGE),
            ("vlm_failure", FAILURE),
        ]
    )
    failure_column = "vlm_failure"

    def __init__(self, config: VlmConfig) -> None:
        super().__init__(config)
        self._connect(config, config.key())

    def provenance(self) -> dict[str, str]:
        prompts = (self.config.prompt, self.config.line_prompt)
        return self._made_by(f"vlm {self.config.model}", self.config, *prompts)

    def __call__(self, rows: pa.Table) -> pa.Table:
        wanted = [i for i, doubts in enumerate(rows["doubts"].to_pylist()) if _worth(doubts)]
        pages: list[PageInDoubt] = (
            rows.select(self.reads.names).take(pa.array(wanted, pa.int64())).to_pylist()
        )
        asked = [(i, page) for i, page in zip(wanted, pages, strict=True) if page["image"]]
        values: list[VlmRead] = [{} for _ in range(rows.num_rows)]
        if asked:
            read = self._asked(self._read_all([page for _, page in asked]))
            for (i, _), value in zip(asked, read, strict=True):
                values[i] = value
        return appended(rows, self.writes, values)

    async def _read_all(self, pages: Sequence[PageInDoubt]) -> list[VlmRead]:
        return await asyncio.gather(*map(self._read, pages))

    async def _read(self, page: PageInDoubt) -> VlmRead:
        closed = self._endpoint.closed()
        if closed:
            return {"vlm_usage": usage([]), "vlm_failure": closed}
        image, lines = page["image"], page["ocr_lines"] or []
        try:
            weak = self._regions(lines, page["doubts"])
            if weak:
                return await self._read_lines(image, lines, weak)
            return await self._read_page(image, lines)
        except ItemFailure as fault:
            return {"vlm_usage": usage([]), "vlm_failure": fault.as_value()}
        except Exception:
            return {"vlm_usage": usage([]), "vlm_failure": self._unknown()}

    def _regions(self, lines: Sequence[LineValue], doubts: Sequence[str]) -> list[int]:
        """Places of the lines to send; none: the page is sent."""
        if self.config.mode == "page" or _names(doubts) & _ABOUT_THE_PAGE:
            return []
        weak = weak_lines(lines, self.config.line_score)
        fits = len(weak) <= self.config.max_regions
        return weak if fits and all(lines[i]["polygon"] for i in weak) else []

    async def _read_page(self, image: bytes, lines: Sequence[LineValue]) -> VlmRead:
        side, quality = self.config.max_side, self.config.jpeg_quality
        picture = await asyncio.to_thread(page_picture, image, side, quality)
        answer = await self._endpoint.ask(Question(picture, self.config.prompt))
        await self._watch_for_loops(answer, "\n".join(line["text"] or "" for line in lines))
        return {
            "vlm_text": answer.text,
            "vlm_model": answer.model,
            "vlm_usage": usage([answer]),
            "vlm_failure": answer.failure,
        }

    async def _read_lines(
        self, image: bytes, lines: Sequence[LineValue], weak: Sequence[int]
    ) -> VlmRead:
        side, quality = self.config.max_side, self.config.jpeg_quality
        polygons = [lines[i]["polygon"] for i in weak]
        crops = await asyncio.to_thread(line_pictures, image, polygons, side, quality)
        questions = [Question(crop, self.config.line_prompt) for crop in crops]
        answers = await asyncio.gather(*map(self._endpoint.ask, questions))
        for answer, polygon in zip(answers, polygons, strict=True):
            await self._watch_for_loops(answer, "")
            odd = implausible_line(answer.text or "", polygon)
            if odd and not answer.failure:
                answer.failure = failure(FailureKind.VLM_GARBAGE, odd)
        both = zip(weak, answers, strict=True)
        texts = {i: answer.text or "" for i, answer in both if not answer.failure}
        merged = spliced(lines, texts)
        return {
            "vlm_text": "\n".join(line["text"] for line in merged if line["text"]),
            "vlm_lines": merged,
            "vlm_model": next((answer.model for answer in answers if answer.model), None),
            "vlm_usage": usage(answers),
            "vlm_failure": _first_failure(weak, answers),
        }

    async def _watch_for_loops(self, answer: Answer, first: str) -> None:
        """Name a loop. What repeats itself in the first reading as well stands on the page."""
        if not answer.text:
            return
        loop = await asyncio.to_thread(find_loop, answer.text, self.config.loop)
        if loop and not find_loop(first, self.config.loop):
            also = f"; {answer.failure['message']}" if answer.failure else ""
            answer.failure = failure(FailureKind.VLM_LOOP, loop + also)


def usage(answers: Sequence[Answer]) -> UsageValue:
    """The USAGE of one row: sums; what no answer counts stays null."""
    return {
        "requests": sum(answer.requests for answer in answers),
        "prompt_tokens": _sum([answer.prompt_tokens for answer in answers]),
        "completion_tokens": _sum([answer.completion_tokens for answer in answers]),
        "money": _sum([answer.money for answer in answers]),
        "seconds": sum(answer.seconds for answer in answers),
    }


def _sum(values: Sequence[N | None]) -> N | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _first_failure(weak: Sequence[int], answers: Sequence[Answer]) -> FailureValue | None:
    failed = [
        (i, answer.failure) for i, answer in zip(weak, answers, strict=True) if answer.failure
    ]
    if not failed:
        return None
    place, first = failed[0]
    message = f"{len(failed)} of {len(answers)} lines failed; line {place + 1}: {first['message']}"
    return {"kind": first["kind"], "message": message[:2000]}


def _worth(doubts: Sequence[str] | None) -> bool:
    return bool(doubts) and _BLANK not in _names(doubts or ())


def _names(doubts: Sequence[str]) -> set[str]:
    return {doubt.partition("=")[0] for doubt in doubts}
