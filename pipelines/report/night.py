"""Throughput of a run over its working time.

Computed from the times of the shards, because a killed session has shards but no record. Pauses
between sessions are left out of the axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from pipelines.report.scan import Commit
from pipelines.report.views import Floats
from pipelines.runs.session import SessionRecord

#: Tolerance: the times of a session are whole seconds.
_SLACK_S = 2.0
#: Commits without a session belong together if they are closer than this.
_PAUSE_S = 1800.0
#: Assumed time before the first commit without a record: a shard is written once a minute.
_LEAD_S = 60.0
_BINS = 60


@dataclass(frozen=True)
class Span:
    """A working period, in seconds since 1970. `recorded`: it has a session in run.json."""

    start: float
    end: float
    recorded: bool


@dataclass(frozen=True)
class Night:
    """Rows per second over working time.

    Attributes:
        spans: by time.
        edges: (n + 1,) seconds of working time.
        rates: (n,) rows per second between the edges.
        by_commits: False if the times of the shards are useless because the shards were copied;
            the rates are then the means of the sessions.
    """

    spans: list[Span]
    edges: Floats
    rates: Floats
    by_commits: bool

    def clock(self, second: float) -> datetime:
        """UTC time at a second of working time."""
        for span in self.spans:
            length = span.end - span.start
            if second <= length or span is self.spans[-1]:
                return datetime.fromtimestamp(span.start + min(second, length), UTC)
            second -= length
        raise ValueError("a night without spans has no clock")

    @property
    def starts(self) -> Floats:
        """(spans,) second of working time at which each period begins."""
        lengths = [span.end - span.start for span in self.spans]
        return np.concatenate([[0.0], np.cumsum(lengths)[:-1]])


def night(sessions: Sequence[SessionRecord], commits: Sequence[Commit]) -> Night | None:
    """The throughput of a run; None without usable sessions and commits.

    Args:
        sessions: of run.json.
        commits: sorted by time.
    """
    recorded = [span for session in sessions if (span := _span(session))]
    inside = [commit for commit in commits if _within(recorded, commit)]
    if recorded and commits and not inside:
        return _by_sessions(sessions)
    orphans = [commit for commit in commits if not _within(recorded, commit)]
    spans = sorted([*recorded, *_clusters(orphans)], key=lambda span: span.start)
    if not spans or not commits:
        return None
    seconds, done = _cumulative(spans, commits)
    bins = int(np.clip(seconds[-1], 1, _BINS))
    edges = np.linspace(0, seconds[-1], bins + 1)
    at_edges = np.interp(edges, seconds, done)
    at_edges[0] = 0
    rates = np.diff(at_edges) / np.diff(edges)
    return Night(spans, edges, rates, True)


def _span(session: SessionRecord) -> Span | None:
    try:
        start, end = (datetime.fromisoformat(session[name]) for name in ("started", "ended"))
    except (KeyError, TypeError, ValueError):
        return None
    lasted = max(end.timestamp() - start.timestamp(), 1.0)
    return Span(start.timestamp(), start.timestamp() + lasted, True)


def _within(spans: Sequence[Span], commit: Commit) -> bool:
    return any(s.start - _SLACK_S <= commit.at <= s.end + _SLACK_S for s in spans)


def _clusters(commits: Sequence[Commit]) -> list[Span]:
    spans: list[Span] = []
    for commit in commits:
        if spans and commit.at - spans[-1].end < _PAUSE_S:
            spans[-1] = Span(spans[-1].start, commit.at, False)
        else:
            spans.append(Span(commit.at - _LEAD_S, commit.at, False))
    return spans


def _cumulative(spans: Sequence[Span], commits: Sequence[Commit]) -> tuple[Floats, Floats]:
    """Ascending seconds of working time, and the rows committed until then."""
    times, seconds, offset = [], [], 0.0
    for span in spans:
        times += [span.start, span.end]
        seconds += [offset, offset + span.end - span.start]
        offset = seconds[-1]
    at = np.array([commit.at for commit in commits])
    done = np.cumsum([commit.rows for commit in commits]).astype(float)
    work = np.interp(at, np.maximum.accumulate(times), seconds)
    starts = np.array(seconds[::2])
    before = np.concatenate([[0.0], done])[np.searchsorted(at, [s.start for s in spans])]
    x = np.concatenate([starts, work, [offset]])
    y = np.concatenate([before, done, [done[-1]]])
    order = np.lexsort((y, x))
    x, y = x[order], np.maximum.accumulate(y[order])
    last = np.append(np.diff(x) > 0, True)  # for equal seconds the largest count
    return x[last], y[last]


def _by_sessions(sessions: Sequence[SessionRecord]) -> Night | None:
    known = [(span, one) for one in sessions if (span := _span(one)) and one.get("rows")]
    if not known:
        return None
    spans = [span for span, _ in known]
    lengths = np.array([span.end - span.start for span in spans])
    rows = np.array([float(session["rows"]) for _, session in known])
    return Night(spans, np.concatenate([[0.0], np.cumsum(lengths)]), rows / lengths, False)
