"""What people said about the rows of a run, to look up while its shards are streamed.

Whether an answer came back by `nightjar review import` or `nightjar curate pull` makes no
difference: both write RUN/reviewed, and the last answer of a row counts.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from pipelines.review.importing import reviewed_rows
from pipelines.runs.directory import RunDir


class ReviewAnswer(NamedTuple):
    """One answer.

    Attributes:
        verdict: `accept` (what the run found is true), `correct` (`truth` is what a person made of
            it) or `reject` (of no use as truth).
        truth: the text of a page, lines ending in LF, or the labels of an image (values of
            `decisions.triage.LABEL`, an empty list where nothing is there); None for `reject`.
    """

    verdict: str
    truth: Any


class ReviewAnswers:
    """The answers that stand, by row id; Arrow in memory (some 300 bytes a label), objects never.

    ``answers.of(row_id)`` is None for a row that nobody has looked at. A row that was rejected has
    an answer whose truth is None::

        answers = ReviewAnswers(run, "text")
        answer = answers.of(row["row_id"])
        text = answer.truth if answer else row["text"]
    """

    def __init__(self, run: RunDir, truth: Literal["text", "instances"]) -> None:
        """`truth`: the column that is wanted, `text` of pages or `instances` of images."""
        standing = reviewed_rows(run)  # ascending by row id, each once
        self._ids = standing["row_id"].to_numpy()
        self._verdicts = standing["verdict"]
        self._truths = standing[truth]

    def __len__(self) -> int:
        return len(self._ids)

    def of(self, row_id: int) -> ReviewAnswer | None:
        """What stands for a row."""
        place = int(np.searchsorted(self._ids, row_id))
        if place == len(self._ids) or self._ids[place] != row_id:
            return None
        return ReviewAnswer(self._verdicts[place].as_py(), self._truths[place].as_py())
