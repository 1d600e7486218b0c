"""Lookup of reviewers' answers by row, while the shards of a run are streamed.

`nightjar review import` and `nightjar curate pull` both write RUN/reviewed. The last answer of a
row counts.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from pipelines.review.importing import reviewed_rows
from pipelines.runs.directory import RunDir


class ReviewAnswer(NamedTuple):
    """One answer.

    Attributes:
        verdict: `accept` (the run's result is true), `correct` (`truth` is the reviewer's
            version) or `reject` (unusable as truth).
        truth: the text of a page, lines ending in LF, or the labels of an image (values of
            `decisions.triage.LABEL`, an empty list for an image without objects); None for
            `reject`.
    """

    verdict: str
    truth: Any


class ReviewAnswers:
    """The last answer of each row. Held as Arrow: about 300 bytes a label, no Python objects.

    ``answers.of(row_id)`` is None for a row without an answer. A rejected row has an answer with
    truth None::

        answers = ReviewAnswers(run, "text")
        answer = answers.of(row["row_id"])
        text = answer.truth if answer else row["text"]
    """

    def __init__(self, run: RunDir, truth: Literal["text", "instances"]) -> None:
        """`truth`: the column to look up, `text` of pages or `instances` of images."""
        standing = reviewed_rows(run)  # ascending by row id, each once
        self._ids = standing["row_id"].to_numpy()
        self._verdicts = standing["verdict"]
        self._truths = standing[truth]

    def __len__(self) -> int:
        return len(self._ids)

    def of(self, row_id: int) -> ReviewAnswer | None:
        """The last answer of a row, or None."""
        place = int(np.searchsorted(self._ids, row_id))
        if place == len(self._ids) or self._ids[place] != row_id:
            return None
        return ReviewAnswer(self._verdicts[place].as_py(), self._truths[place].as_py())
