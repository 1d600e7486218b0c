"""The context of the template: everything that the page shows of a run."""

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

#: Outcome -> its meaning, in the order of the bars. Unknown outcomes come last.
OUTCOMES = {
    "accepted": "labelled, no reason for review",
    "empty": "no object of the ontology found",
    "native_text": "text layer of the document",
    "ocr": "OCR result accepted",
    "vlm": "OCR result doubtful, text of the vision-language model accepted",
    "review": "a result that a person must check",
    "failed": "no result; see the failure",
}
_CHARTS = 24  #: most classes with a histogram
_CLASSES = 200  #: most classes in the table
_COMMITS = 3  #: with fewer shards there is no chart of the throughput


def ordered(outcomes: Iterable[str]) -> list[str]:
    """These outcomes in the order of `OUTCOMES`."""
    there = set(outcomes)
    return [name for name in (*OUTCOMES, *sorted(there - set(OUTCOMES))) if name in there]


def content(
    run: RunDir,
    record: Mapping[str, Any],
    found: Scan,
    cards: Sequence[Card],
    examples: Mapping[str, Any],
) -> dict[str, Any]:
    """The context of the template.

    Args:
        run, record: the run and its run.json.
        found: counts of its shards.
        cards: of the gallery.
        examples: failure kind -> rows with it.
    """
    sessions: Sequence[SessionRecord] = record.get("sessions") or []
    summary = facts.manifest_of(run)
    labelled = found.labelled or record.get("job") == "autolabel"
    unit = str(record.get("unit") or ("image" if labelled else "page"))
    return {
        "run": run.path.resolve().name,
        "path": str(run.path),
        "job": str(record.get("job", "")),
        "created": facts.clock(record.get("created")),
        "written": facts.clock(datetime.now(UTC).isoformat()),
        "unit": unit,
        "found": found,
        "planned": summary.pages if summary else None,
        "meaning": OUTCOMES,
        "examples": examples,
        **_counts(found.tally, record),
        **_sessions(sessions, found, unit),
        "calibrations": calibrations(run),
        "evaluation": evaluation(run),
        "cards": cards,
        **_filters(cards),
        "bands": [*BANDS, UNKNOWN],
        "source": facts.source_table(summary),
        "config": facts.config_text(record),
    }


def _counts(tally: Tally, record: Mapping[str, Any]) -> dict[str, Any]:
    """Outcomes, reasons, failures, classes and scores."""
    return {
        "tally": tally,
        "outcomes": ordered(tally.outcomes),
        "reasons": _reasons(tally),
        "failures": tally.failures.most_common(),
        "score_charts": [*_score_charts(tally, record)],
        "classes": _by_count(tally)[:_CLASSES],
    }


def _sessions(sessions: Sequence[SessionRecord], found: Scan, unit: str) -> dict[str, Any]:
    """Throughput, sessions, stages, models and versions."""
    worked, enough = night(sessions, found.commits), len(found.commits) >= _COMMITS
    return {
        "night": worked,
        "throughput": throughput(worked, unit) if worked and enough else None,
        "sessions": facts.sessions_table(sessions),
        "stages": facts.stages_table(sessions, unit),
        "models": facts.models_table(sessions),
        "versions": facts.versions_table(sessions),
    }


def _filters(cards: Sequence[Card]) -> dict[str, Any]:
    """The filters of the gallery. Cards refer to indices in these lists."""
    return {
        "filter_outcomes": ordered(card.outcome for card in cards),
        "filter_classes": sorted({name for card in cards for name in card.classes}),
        "filter_reasons": sorted({name for card in cards for name in card.reasons}),
    }


def _reasons(tally: Tally) -> list[tuple[str, int, list[tuple[str, int]]]]:
    """(reason, rows, rows by outcome), most frequent reason first."""
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
        ("Expected CER of a page", "pages", "expected CER", tally.expected),
    ):
        if histograms:
            yield histogram(title, _by_outcome(histograms), of=of, x_name=x_name, zoom=True)


def _by_outcome(histograms: Histograms) -> list[tuple[str, str, Any]]:
    return [(f"in {name}", f"o-{name}", histograms[name]) for name in ordered(histograms)]


def _thresholds(record: Mapping[str, Any]) -> dict[str, float]:
    """Class -> threshold; empty if this version cannot read the config of the run."""
    try:
        ontology = Ontology.model_validate(record["config"]["detector"]["ontology"])
    except (KeyError, TypeError, ValidationError):
        return {}
    return {name: ontology.threshold_of(name) for name in ontology.classes}
