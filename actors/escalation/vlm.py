"""The fallback reader: a vision-language model behind an OpenAI-compatible endpoint.

It reads only the doubtful pages of the first reader. `pipelines.decisions.escalation` decides
whether to use its text.
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
from actors.failures import FAILURE, FailureKind, FailureValue, ItemFailure, SetupError, failure
from actors.lines import LINES, LineValue, page_text

if TYPE_CHECKING:
    from actors.endpoint.client import Answer

__all__ = ["USAGE", "Vlm", "VlmConfig"]

N = TypeVar("N", int, float)

#: The cost of one row. Tokens are null if the endpoint does not count them, `money` is null without
#: prices. `seconds`: time of all requests, without the waits for a slot or between attempts.
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
    """The columns that `Vlm` reads of a page; image and doubts are not empty."""

    image: bytes
    ocr_lines: list[LineValue] | None
    doubts: list[str]


class VlmRead(TypedDict, total=False):
    """The columns that `Vlm` writes for one page; a missing key is a null."""

    vlm_text: str | None
    vlm_lines: list[LineValue] | None
    vlm_model: str | None
    vlm_usage: UsageValue | None
    vlm_failure: FailureValue | None


#: Doubts that crops of found lines cannot resolve; the full page is sent.
_ABOUT_THE_PAGE = frozenset(
    {
        *("no_text_found", "ink_not_covered", "text_outside_lines", "garbled_text"),
        *("script_not_readable", "letters_not_readable", "line_ink_not_read"),
    }
)
_BLANK = "blank_page"  # not sent, because models invent text on empty paper


class Vlm(EndpointActor[VlmConfig]):
    """Reads pages with `doubts` (names, or ``name=value``) again.

    Rows without doubts or image and blank pages get nulls. A page is sent as a whole in mode page,
    and in mode regions if its doubts or its number of weak lines rule out crops.

    * `vlm_text`: the answer for a full page; for crops, the texts of `vlm_lines`.
    * `vlm_lines`: null for a full page; for crops, the first reader's lines, whose weak lines have
      the answers' texts and null scores.
    * `vlm_model`: the model's name as given by the endpoint.
    * `vlm_failure`: VLM_*, CORRUPT_IMAGE or ENGINE_FAULT. With VLM_TRUNCATED and VLM_LOOP, and with
      any failure of crops, `vlm_text` may be set for review.

    Several threads may call it at once; they share the `concurrency` limit. Raises SetupError if
    the endpoint refuses every page.
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
        except SetupError:  # the endpoint refuses every page: the run must stop
            raise
        except Exception:
            return {"vlm_usage": usage([]), "vlm_failure": self._unknown()}

    def _regions(self, lines: Sequence[LineValue], doubts: Sequence[str]) -> list[int]:
        """Indices of the lines to send; empty: send the full page."""
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
            "vlm_text": page_text(merged),
            "vlm_lines": merged,
            "vlm_model": next((answer.model for answer in answers if answer.model), None),
            "vlm_usage": usage(answers),
            "vlm_failure": _first_failure(weak, answers),
        }

    async def _watch_for_loops(self, answer: Answer, first: str) -> None:
        """Set VLM_LOOP for a loop, unless the first reading repeats itself, too."""
        if not answer.text:
            return
        loop = await asyncio.to_thread(find_loop, answer.text, self.config.loop)
        if loop and not find_loop(first, self.config.loop):
            also = f"; {answer.failure['message']}" if answer.failure else ""
            answer.failure = failure(FailureKind.VLM_LOOP, loop + also)


def usage(answers: Sequence[Answer]) -> UsageValue:
    """The USAGE of one row: sums over its answers; null if no answer has a count."""
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
