"""Everything that the page says about a run, as the template reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from actors.ontology import Ontology
from pipelines.report import facts
from pipelines.report.calibrated import calibrations
from pipelines.report.cards import Card
from pipelines.report.charts import SMALL, Chart, histogram, throughput
from pipelines.report.evaluated import evaluation
from pipelines.report.night import night
from pipelines.report.scan import Scan
from pipelines.report.shapes import BANDS, UNKNOWN
from pipelines.report.tally import Histograms, Tally
from pipelines.runs.directory import RunDir
from pipelines.runs.session import SessionRecord

#: Outcome -> what it means, in the order of the bars; whatever a later version adds comes last.
OUTCOMES = {
    "accepted": "labelled, nothing speaks against it",
    "empty": "looked at, nothing of the ontology found",
    "native_text": "the document's own text layer",
    "ocr": "read by the OCR engine and accepted",
    "vlm": "OCR was in doubt; the second reader was believed",
    "review": "there is a result that nobody should trust unseen",
    "failed": "no result; a failure says why",
}
_CHARTS = 24  #: classes with a histogram; the table has the first 200
_CLASSES = 200
_COMMITS = 3  #: with fewer, rows per second are those of the table of sessions


def ordered(outcomes: Iterable[str]) -> list[str]:
    """The outcomes that are there, in the order of `OUTCOMES`."""
    there = set(outcomes)
    return [name for name in (*OUTCOMES, *sorted(there - set(OUTCOMES))) if name in there]


def content(
    run: RunDir,
    record: Mapping[str, Any],
    found: Scan,
    cards: Sequence[Card],
    examples: Mapping[str, Any],
) -> dict[str, Any]:
    """What the template is given."""
    sessions: Sequence[SessionRecord] = record.get("sessions") or []
    summary = facts.manifest_of(run)
    labelled = found.labelled or record.get("job") == "autolabel"
    unit = str(record.get("unit") or ("image" if labelled else "page"))
    worked, enough = night(sessions, found.commits), len(found.commits) >= _COMMITS
    return {
        "run": run.path.resolve().name,
        "path": str(run.path),
        "job": str(record.get("job", "")),
        "created": facts.clock(record.get("created")),
        "written": facts.clock(datetime.now(UTC).isoformat()),
        "unit": unit,
        "found": found,
        "tally": found.tally,
        "planned": summary.pages if summary else None,
        "outcomes": ordered(found.tally.outcomes),
        "meaning": OUTCOMES,
        "reasons": _reasons(found.tally),
        "failures": found.tally.failures.most_common(),
        "examples": examples,
        "score_charts": [*_score_charts(found.tally, record)],
        "classes": _by_count(found.tally)[:_CLASSES],
        "night": worked,
        "throughput": throughput(worked, unit) if worked and enough else None,
        "sessions": facts.sessions_table(sessions),
        "stages": facts.stages_table(sessions, unit),
        "calibrations": calibrations(run),
        "evaluation": evaluation(run),
        "cards": cards,
        **_filters(cards),
        "bands": [*BANDS, UNKNOWN],
        "models": facts.models_table(sessions),
        "versions": facts.versions_table(sessions),
        "source": facts.source_table(summary),
        "config": facts.config_text(record),
    }


def _filters(cards: Sequence[Card]) -> dict[str, Any]:
    """What the gallery can be filtered by; cards name the places in these lists."""
    return {
        "filter_outcomes": ordered(card.outcome for card in cards),
        "filter_classes": sorted({name for card in cards for name in card.classes}),
        "filter_reasons": sorted({name for card in cards for name in card.reasons}),
    }


def _reasons(tally: Tally) -> list[tuple[str, int, list[tuple[str, int]]]]:
    """Reason, rows, and rows by outcome; the most frequent first."""
    found: dict[str, list[tuple[str, int]]] = {}
    for (outcome, reason), count in tally.reasons.most_common():
        found.setdefault(reason, []).append((outcome, count))
    counted = [(name, sum(n for _, n in by), by) for name, by in found.items()]
    return sorted(counted, key=lambda one: (-one[1], one[0]))


def _by_count(tally: Tally) -> list[str]:
    counts = {name: one.labels + int(one.candidates.sum()) for name, one in tally.classes.items()}
    return sorted(counts, key=lambda name: (-counts[name], name))


def _score_charts(tally: Tally, record: Mapping[str, Any]) -> Iterator[Chart]:
    thresholds = _thresholds(record)
    for name in _by_count(tally)[:_CHARTS]:
        counts, floor = tally.classes[name], thresholds.get(name)
        yield histogram(
            name,
            [("labels", "s0", counts.kept), ("below the threshold", "s1", counts.candidates)]
            if counts.candidates.any()
            else [("labels", "s0", counts.kept)],
            of="labels",
            size=SMALL,
            floor=None if floor is None else (floor, f"threshold {floor:g}"),
        )
    for title, of, x_name, histograms in (
        ("Line scores", "lines", "score", tally.lines),
        ("Mean line score of a page", "pages", "mean score", tally.means),
        ("Expected error rate of a page", "pages", "expected error rate", tally.expected),
    ):
        if histograms:
            yield histogram(title, _by_outcome(histograms), of=of, x_name=x_name, zoom=True)


def _by_outcome(histograms: Histograms) -> list[tuple[str, str, Any]]:
    return [(f"in {name}", f"o-{name}", histograms[name]) for name in ordered(histograms)]


def _thresholds(record: Mapping[str, Any]) -> dict[str, float]:
    """Class -> threshold, where the config of the run is one that this version reads."""
    try:
        ontology = Ontology.model_validate(record["config"]["detector"]["ontology"])
    except (KeyError, TypeError, ValidationError):
        return {}
    return {name: ontology.threshold_of(name) for name in ontology.classes}
