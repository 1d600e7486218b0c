"""The labelled sample of a run: what was measured about each page, and how wrong it truly is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from pipelines.decisions.error_model import (
    FEATURES,
    LineModel,
    log_risk,
    page_features,
    scores_and_lengths,
    with_missing,
)
from pipelines.decisions.evidence import EvidenceValue
from pipelines.decisions.finished import FinishedPage
from pipelines.errors import ConfigError
from pipelines.measures.intervals import Floats, Ints, Pages
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows
from pipelines.storage.paths import parquet
from pipelines.truth.page_match import COLUMNS, Matched, PageTruth, errors_of, match

_ALSO = ("outcome", "reasons", "text_source", "evidence")
#: Who read `lines`, in runs that may have a second reader; else `text_source` says it.
_READER = "lines_source"


@dataclass(frozen=True)
class LinesSeen:
    """Lines of known errors: (lines,) scores, characters, errors, and the page each is on."""

    scores: Floats
    characters: Ints
    errors: Ints
    page: Ints

    def on(self, pages: Ints) -> LinesSeen:
        """Those on some of the pages."""
        at = np.flatnonzero(np.isin(self.page, pages))
        return LinesSeen(self.scores[at], self.characters[at], self.errors[at], self.page[at])


@dataclass
class Sample:
    """n pages that one engine read and whose text is known.

    Attributes:
        evidence: of each page.
        lines: (scores, characters) of all lines of each page.
        pages: errors, characters and file of each page.
        seen: the lines whose own errors are known.
        outcomes, reasons: what the run decided, and why.
        reviewed: pages whose truth is a reviewer's answer.
    """

    engine: str
    evidence: list[EvidenceValue] = field(default_factory=list)
    lines: list[tuple[Floats, Ints]] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    reasons: list[list[str]] = field(default_factory=list)
    reviewed: int = 0
    pages: Pages = field(init=False)
    seen: LinesSeen = field(init=False)

    def __len__(self) -> int:
        return len(self.evidence)

    def features(self, model: LineModel | None, pages: Ints) -> Floats:
        """(pages, len(FEATURES)) float64, NaN where something was not measured."""
        found = self._without_model[pages]
        if model is not None:
            scores, lengths, page = self._all_lines
            wrong = np.bincount(page, model.risk(scores, lengths) * lengths, len(self))
            share = wrong / np.bincount(page, lengths, len(self))
            outside = found[:, FEATURES.index("text_outside")]
            found[:, FEATURES.index("line_risk")] = log_risk(share)[pages]
            found[:, FEATURES.index("text_risk")] = log_risk(with_missing(share[pages], outside))
        return found

    @cached_property
    def _without_model(self) -> Floats:
        """All features that need no model of the lines; a cross-validation asks for them often."""
        found = np.full((len(self), len(FEATURES)), np.nan)
        for page, (evidence, lines) in enumerate(zip(self.evidence, self.lines, strict=True)):
            values = [page_features(evidence, *lines, None)[name] for name in FEATURES]
            found[page] = [np.nan if value is None else value for value in values]
        return found

    @cached_property
    def _all_lines(self) -> tuple[Floats, Ints, Ints]:
        """Scores, characters and page of every line."""
        scores, lengths = (np.concatenate(column) for column in zip(*self.lines, strict=True))
        return scores, lengths, np.repeat(np.arange(len(self)), [len(one) for one, _ in self.lines])

    @property
    def mean_scores(self) -> Floats:
        """(n,) mean line scores: what the naive floor looks at."""
        return np.array([evidence["mean_score"] for evidence in self.evidence], float)


@dataclass
class Samples:
    """The samples of a run by engine, and what is in none of them."""

    by_engine: dict[str, Sample]
    matched: Matched
    left_out: Counter[str]  #: why -> pages with truth


def read_samples(run: RunDir, truths: Sequence[PageTruth]) -> Samples:
    """Compare the pages of a run with their truth.

    In a sample: pages that an OCR engine read, all lines of it with scores. The others cannot be
    accepted by any score: failed and empty pages, and text that came with the document. What a
    reviewer rejected is no truth.

    Raises ConfigError where the run holds no pages, nothing matches, or no page is left.
    """
    columns = _columns(run)
    keys = ("row_id", "uri", "page", "pages")
    matched = match([r for b in iter_rows(run, keys) for r in b.to_pylist()], truths)
    wanted = {row["row_id"]: truth for row, truth in matched.pairs}
    left_out: Counter[str] = Counter()
    kept: dict[str, list[tuple[FinishedPage, PageTruth]]] = defaultdict(list)
    for batch in iter_rows(run, columns):
        rows: list[FinishedPage] = batch.to_pylist()
        for row in rows:
            if row["row_id"] not in wanted:
                continue
            truth = wanted[row["row_id"]]
            if why := _unfit(row, truth):
                left_out[why] += 1
            else:
                kept[_reader(row).split()[0]].append((row, truth))
    if not kept:
        shown = ", ".join(f"{count} {why}" for why, count in left_out.items())
        raise ConfigError(
            f"no page with truth has a reading with scores: {shown}",
            "give truth of pages that the OCR engine has read",
        )
    samples = {engine: _sample(engine, pairs) for engine, pairs in sorted(kept.items())}
    return Samples(samples, matched, left_out)


def _columns(run: RunDir) -> tuple[str, ...]:
    files = run.shard_files()
    if not files:
        raise ConfigError(f"{run.path} holds no finished page", "run it first: nightjar run CONFIG")
    there = set(parquet(files[0]).schema_arrow.names)
    lacking = {*COLUMNS, *_ALSO} - there
    if lacking:
        raise ConfigError(
            f"{run.path} holds no readings: its rows lack {', '.join(sorted(lacking))}",
            "truth of pages goes with a run of ocr_backfill, a COCO JSON with one of autolabel",
        )
    return (*COLUMNS, *_ALSO, *({_READER} & there))


def _reader(row: FinishedPage) -> str:
    """The engine whose lines and scores these are; "" where nobody read any."""
    return row.get("lines_source") or row["text_source"] or ""


def _unfit(row: FinishedPage, truth: PageTruth) -> str | None:
    """Why a page is in no sample; None: it is in one."""
    evidence = row["evidence"]
    if truth.verdict == "reject":
        return "rejected in review"
    if row["outcome"] == "failed":
        return "failed"
    if row["text_source"] is None or evidence is None:
        return "not read by OCR"
    if not evidence["characters"] or evidence["mean_score"] is None:
        return "without text or scores"
    return "with lines without score" if evidence["unscored_lines"] else None


def _sample(engine: str, pairs: list[tuple[FinishedPage, PageTruth]]) -> Sample:
    sample = Sample(engine)
    files = {uri: number for number, uri in enumerate(sorted({row["uri"] for row, _ in pairs}))}
    counts, lines = [], []
    for page, (row, truth) in enumerate(pairs):
        found = errors_of(row, truth)
        # More errors than characters count as all of them wrong: the rate is a share.
        size = max(found.characters, 1)
        counts.append((min(found.errors, size), size, files[row["uri"]]))
        evidence = row["evidence"]
        assert evidence is not None  # such a page is unfit
        scores, lengths = scores_and_lengths(row["lines"] or [])
        sample.evidence.append(evidence)
        sample.lines.append((scores, lengths))
        sample.outcomes.append(row["outcome"])
        sample.reasons.append(row["reasons"] or [])
        sample.reviewed += truth.verdict is not None
        lines += [(scores[one.place], one.characters, one.errors, page) for one in found.lines]
    errors, characters, of_file = np.array(counts).T
    sample.pages = Pages(errors.astype(float), characters.astype(float), of_file.astype(np.int64))
    table = np.array(lines, dtype=float).reshape(-1, 4)
    whole = table[:, 1:].astype(np.int64)
    sample.seen = LinesSeen(table[:, 0], whole[:, 0], whole[:, 1], whole[:, 2])
    return sample
