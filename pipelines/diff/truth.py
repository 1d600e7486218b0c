"""Compare two runs with the truth, image by image or page by page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NotRequired, Protocol, TypedDict

from pipelines.diff.pairs import Row
from pipelines.errors import ConfigError
from pipelines.runs.directory import RunDir
from pipelines.storage.paths import RunPath, run_path
from pipelines.truth.label_match import Matched, Thing, kept_labels, matched
from pipelines.truth.label_truth import TrueObjects
from pipelines.truth.page_found import PageFound, found_on
from pipelines.truth.pages import page_truths, read_truths
from pipelines.truth.reviewed import REVIEWED_TRUTH

#: An object in the output of `nightjar diff --out`.
ObjectValue = TypedDict("ObjectValue", {"class": str, "box": list[float]})


class VerdictValue(TypedDict):
    """A verdict in the output of `nightjar diff --out`. Lists of numbers are [before, after].

    Labels: `right` and `objects` are counts; `lost`, `gained`: objects that only one run found, if
    both runs name the classes alike. Texts: `characters` of the truth; the rates of
    `pipelines.truth.page_found.RATES`; `wrong_successors`: a count. Left out: what the truth does
    not tell.
    """

    errors: list[int]
    right: NotRequired[list[int]]
    objects: NotRequired[int]
    lost: NotRequired[list[ObjectValue]]
    gained: NotRequired[list[ObjectValue]]
    characters: NotRequired[int]
    cer_with_blanks: NotRequired[list[float]]
    cer_without_blanks: NotRequired[list[float]]
    wer: NotRequired[list[float]]
    ned: NotRequired[list[float]]
    wrong_successors: NotRequired[list[int]]


@dataclass(frozen=True)
class Verdict:
    """Errors of one image or page in both runs.

    Attributes:
        errors: number of wrong labels and missed objects, or of wrong characters.
        size: objects, or characters of the truth.
        counts: counts of each run, for its totals.
        detail: for JSON.
        misplaced: wrong successors of lines; they tell if the errors are equal.
    """

    errors: tuple[int, int]
    size: int
    counts: tuple[Counter[str], Counter[str]]
    detail: VerdictValue
    misplaced: tuple[int, int] = (0, 0)

    @property
    def worse(self) -> int:
        """Additional errors, or wrong successors if there are none; below 0: fewer."""
        return self.errors[1] - self.errors[0] or self.misplaced[1] - self.misplaced[0]


class Judge(Protocol):
    """Compares rows of both runs with their truth."""

    #: unit of `Verdict.errors`
    unit: str
    #: limits of the verdicts, for the user
    warnings: list[str]

    def of(self, before: Row, after: Row) -> Verdict | None:
        """The verdict on a row of each run; None: they have no truth."""


def judge_of(one: RunDir, other: RunDir, truth: str | RunPath, job: str) -> Judge:
    """The judge of two runs of a job; `reviewed` stands for the reviewed rows of the first.

    Raises ConfigError if the truth cannot be read or does not fit one of the runs.
    """
    known = run_path(truth)
    if str(truth) == REVIEWED_TRUTH and not known.exists():
        known = one.path
    return LabelJudge(one, other, known) if job == "autolabel" else TextJudge(one, other, known)


class LabelJudge:
    """Compares labels at IoU 0.5. Only classes in the ontologies of both runs count."""

    unit = "wrong or missing labels"

    def __init__(self, one: RunDir, other: RunDir, truth: RunPath) -> None:
        """Read the objects of the truth, but no rows of the runs."""
        self._truths = TrueObjects(one, truth), TrueObjects(other, truth)
        self._classes = self._truths[0].classes & self._truths[1].classes
        if not self._classes:
            raise ConfigError(
                f"no class of {truth} is in the ontologies of both runs",
                "give the classes the same names in both",
            )
        lone = sorted(self._truths[0].classes ^ self._truths[1].classes)
        self.warnings = (
            [f"classes of only one run are not compared: {', '.join(lone)}"] if lone else []
        )

    def of(self, before: Row, after: Row) -> Verdict | None:
        """See `Judge`."""
        assert "instances" in before
        assert "instances" in after
        true = [of.of(row) for of, row in zip(self._truths, (before, after), strict=True)]
        if true[0] is None or true[1] is None:
            return None
        objects = [self._common(things) for things in (true[0], true[1])]
        labels = [self._common(kept_labels(row["instances"])) for row in (before, after)]
        found = [matched(mine, theirs) for mine, theirs in zip(labels, objects, strict=True)]
        hits = [{at: place for place, at in one.right} for one in found]
        size = sum(not one.crowd for one in objects[1])
        detail: VerdictValue = {
            "errors": [one.errors for one in found],
            "right": [len(one.right) for one in found],
            "objects": size,
        }
        # Both lists are equal unless the runs give a class of the truth different names.
        if objects[0] == objects[1]:
            detail["lost"] = _shown(objects[0], set(hits[0]) - set(hits[1]))
            detail["gained"] = _shown(objects[1], set(hits[1]) - set(hits[0]))
        return Verdict(
            errors=(found[0].errors, found[1].errors),
            size=size,
            counts=(_counts(found[0]), _counts(found[1])),
            detail=detail,
        )

    def _common(self, things: list[Thing]) -> list[Thing]:
        return [one for one in things if one.name in self._classes]


def _shown(objects: list[Thing], places: set[int]) -> list[ObjectValue]:
    return [{"class": objects[at].name, "box": list(objects[at].box)} for at in sorted(places)]


def _counts(found: Matched) -> Counter[str]:
    return Counter(
        right=len(found.right),
        wrong=len(found.wrong) + len(found.mistaken),
        missed=len(found.missed) + len(found.mistaken),
    )


@dataclass
class TextJudge:
    """Compares final texts by wrong characters, with blanks if the truth has them.

    Lines may be in any order. If as many characters are wrong, wrong successors of lines tell.
    """

    one: RunDir
    other: RunDir
    truth: RunPath
    unit: str = "wrong characters"
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        truths = read_truths(self.one, self.truth)
        self._by_id = [page_truths(run, truths).by_id for run in (self.one, self.other)]

    def of(self, before: Row, after: Row) -> Verdict | None:
        """See `Judge`."""
        first, second = (
            by_id.get(row["row_id"])
            for by_id, row in zip(self._by_id, (before, after), strict=True)
        )
        if first is None or second is None:
            return None
        assert "instances" not in before
        assert "instances" not in after
        found = found_on(before, first)
        # The same text has the same errors, even if its boxes moved.
        same = before["text"] == after["text"] and first is second
        return _of_texts(found, found if same else found_on(after, second))


def _of_texts(before: PageFound, after: PageFound) -> Verdict:
    both = before, after
    errors, sizes = zip(*(found.main_errors for found in both), strict=True)
    counts = [found.counts() for found in both]
    misplaced = counts[0]["wrong_successors"], counts[1]["wrong_successors"]
    detail: VerdictValue = {
        "errors": list(errors),
        "characters": sizes[1],
        "cer_without_blanks": [round(found.characters.cer, 5) for found in both],
        "wer": [round(found.wer, 5) for found in both],
    }
    with_blanks = [round(one.cer_with_blanks, 5) for one in both if one.cer_with_blanks is not None]
    if with_blanks:
        detail["cer_with_blanks"] = with_blanks
    neds = [round(found.ned, 5) for found in both if found.ned is not None]
    if neds:
        detail["ned"] = neds
    if before.order and after.order:
        detail["wrong_successors"] = list(misplaced)
    return Verdict(
        errors=(errors[0], errors[1]),
        size=sizes[1],
        counts=(Counter(counts[0]), Counter(counts[1])),
        detail=detail,
        misplaced=misplaced,
    )
