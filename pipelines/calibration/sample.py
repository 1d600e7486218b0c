"""The labelled sample of a run: the evidence and the true errors of each page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
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
from pipelines.measures.character_errors import counted
from pipelines.measures.intervals import Floats, Ints, Pages
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows, open_shard
from pipelines.truth.page_match import COLUMNS, ROTATION, Matched, PageTruth, errors_of, match

_ALSO = ("outcome", "reasons", "text_source", "evidence")
#: Reader of `lines`, in runs with a second reader. In other runs it is `text_source`.
_READER = "lines_source"


@dataclass(frozen=True)
class LinesSeen:
    """Lines with known errors; all are (lines,).

    Attributes:
        scores: of the lines, 0..1.
        characters, errors: as counted, with or without blanks.
        page: page of each line.
        lengths: characters without white space.
    """

    scores: Floats
    characters: Ints
    errors: Ints
    page: Ints
    lengths: Ints

    def on(self, pages: Ints) -> LinesSeen:
        """The lines on some of the pages."""
        at = np.flatnonzero(np.isin(self.page, pages))
        return LinesSeen(
            self.scores[at], self.characters[at], self.errors[at], self.page[at], self.lengths[at]
        )


@dataclass
class Sample:
    """n pages with truth that one engine read.

    Attributes:
        evidence: evidence of each page.
        lines: (scores, characters) of all lines of each page.
        counts_blanks: whether errors and characters include blanks.
        pages: errors, characters and file of each page.
        seen: the lines with known errors.
        outcomes, reasons: decisions of the run.
        reviewed: number of pages whose truth is a reviewer's answer.
    """

    engine: str
    counts_blanks: bool = False
    evidence: list[EvidenceValue] = field(default_factory=list)
    lines: list[tuple[Floats, Ints]] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    reasons: list[list[str]] = field(default_factory=list)
    reviewed: int = 0
    pages: Pages = field(init=False)
    seen: LinesSeen = field(init=False)

    def __len__(self) -> int:
        return len(self.evidence)

    @property
    def files(self) -> int:
        """Number of files."""
        return len(np.unique(self.pages.files))

    def features(self, model: LineModel | None, pages: Ints) -> Floats:
        """Feature values, (pages, len(FEATURES)) float64; NaN: not measured."""
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
        """The features without the line model, cached: a cross-validation needs them often."""
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
        """(n,) mean line scores, for the naive floor."""
        return np.array([evidence["mean_score"] for evidence in self.evidence], float)


@dataclass
class Samples:
    """The samples of a run by engine, and the pages that are in none."""

    by_engine: dict[str, Sample]
    matched: Matched
    left_out: Counter[str]  #: reason -> pages with truth


def read_samples(
    run: RunDir, truths: Sequence[PageTruth], *, blanks: bool | None = None
) -> Samples:
    """Compare the pages of a run with their truth.

    A sample holds the pages that an OCR engine read with a score for every line. Left out are pages
    that scores do not decide (failed pages, empty pages, native text) and pages that a reviewer
    rejected.

    Args:
        blanks: whether blanks count; pages whose truth has no reliable blanks are then left out.
            None: they count for an engine if the truth of all its pages has them.

    Raises ConfigError if the run holds no pages, no truth matches, or no page is left.
    """
    columns = _columns(run)
    keys = ("row_id", "uri", "page", "pages")
    matched = match([r for b in iter_rows(run, keys) for r in b.to_pylist()], truths)
    wanted = {row["row_id"]: truth for row, truth in matched.pairs}
    kept, left_out = _sorted_out(run, columns, wanted, needs_blanks=blanks is True)
    if not kept:
        shown = ", ".join(f"{count} {why}" for why, count in left_out.items())
        raise ConfigError(
            f"no page with truth has a reading with scores: {shown}",
            "give truth of pages that the OCR engine has read",
        )
    samples = {
        engine: _sample(
            engine, pairs, all(truth.blanks for _, truth in pairs) if blanks is None else blanks
        )
        for engine, pairs in sorted(kept.items())
    }
    return Samples(samples, matched, left_out)


def _sorted_out(
    run: RunDir, columns: Sequence[str], wanted: Mapping[int, PageTruth], *, needs_blanks: bool
) -> tuple[dict[str, list[tuple[FinishedPage, PageTruth]]], Counter[str]]:
    """The pages with truth of each engine, and the reasons of those left out."""
    left_out: Counter[str] = Counter()
    kept: dict[str, list[tuple[FinishedPage, PageTruth]]] = defaultdict(list)
    for batch in iter_rows(run, columns):
        rows: list[FinishedPage] = batch.to_pylist()
        for row in rows:
            if row["row_id"] not in wanted:
                continue
            truth = wanted[row["row_id"]]
            if why := _unfit(row, truth, needs_blanks=needs_blanks):
                left_out[why] += 1
            else:
                kept[_reader(row).split()[0]].append((row, truth))
    return kept, left_out


def _columns(run: RunDir) -> tuple[str, ...]:
    files = run.shard_files()
    if not files:
        raise ConfigError(f"{run.path} holds no finished page", "run it first: nightjar run CONFIG")
    there = set(open_shard(files[0]).schema_arrow.names)
    lacking = {*COLUMNS, *_ALSO} - there
    if lacking:
        raise ConfigError(
            f"{run.path} holds no readings: it lacks the columns {', '.join(sorted(lacking))}",
            "use true texts with a run of ocr_backfill, and a COCO JSON with a run of autolabel",
        )
    return (*COLUMNS, *_ALSO, *({_READER, ROTATION} & there))


def _reader(row: FinishedPage) -> str:
    """The engine that read the lines; "" if none did."""
    return row.get("lines_source") or row["text_source"] or ""


def _unfit(row: FinishedPage, truth: PageTruth, needs_blanks: bool) -> str | None:
    """Why a page is left out of the samples; None: it is in one."""
    evidence = row["evidence"]
    if truth.verdict == "reject":
        return "rejected in review"
    if row["outcome"] == "failed":
        return "failed"
    if row["text_source"] is None or evidence is None:
        return "not read by OCR"
    if not evidence["characters"] or evidence["mean_score"] is None:
        return "without text or scores"
    if needs_blanks and not truth.blanks:
        return "with a truth whose blanks are not reliable"
    return "with lines without score" if evidence["unscored_lines"] else None


def _sample(
    engine: str, pairs: list[tuple[FinishedPage, PageTruth]], counts_blanks: bool
) -> Sample:
    sample = Sample(engine, counts_blanks)
    files = {uri: number for number, uri in enumerate(sorted({row["uri"] for row, _ in pairs}))}
    counts, lines = [], []
    for page, (row, truth) in enumerate(pairs):
        found = errors_of(row, truth)
        # The error rate is a share, so at most all characters count as wrong.
        wrong, size = counted(found, counts_blanks)
        counts.append((min(wrong, max(size, 1)), max(size, 1), files[row["uri"]]))
        evidence = row["evidence"]
        assert evidence is not None  # `_unfit` leaves out pages without evidence
        scores, lengths = scores_and_lengths(row["lines"] or [])
        sample.evidence.append(evidence)
        sample.lines.append((scores, lengths))
        sample.outcomes.append(row["outcome"])
        sample.reasons.append(row["reasons"] or [])
        sample.reviewed += truth.verdict is not None
        for one in found.lines:
            wrong, size = counted(one, counts_blanks)
            lines.append((scores[one.place], size, wrong, page, one.characters))
    errors, characters, of_file = np.array(counts).T
    sample.pages = Pages(errors.astype(float), characters.astype(float), of_file.astype(np.int64))
    table = np.array(lines, dtype=float).reshape(-1, 5)
    sample.seen = LinesSeen(table[:, 0], *table[:, 1:].astype(np.int64).T)
    return sample
