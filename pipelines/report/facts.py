"""Provenance of a run as tables: versions, models, config, source and sessions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from pipelines.errors import NightjarError
from pipelines.report.charts import Table
from pipelines.runs.directory import RunDir
from pipelines.runs.session import SessionRecord
from pipelines.secrets import masked
from pipelines.sources.manifest import ManifestSummary, load_summary

_SESSIONS = 30  #: most sessions; the last ones are shown


def sessions_table(sessions: Sequence[SessionRecord]) -> Table:
    """The last sessions, one per row."""
    head = ("started (UTC)", "ended", "rows", "rows/s", "start-up s", "first commit s", "deaths")
    rows = []
    for session in sessions[-_SESSIONS:]:
        stages = (session.get("stages") or {}).values()
        rows.append(
            [
                clock(session.get("started")),
                clock(session.get("ended")),
                _number(session.get("rows"), 0),
                _number(session.get("rows_per_s"), 2),
                _number(session.get("start_up_s"), 1),
                _number(session.get("first_commit_s"), 1),
                f"{sum(stage.get('worker_deaths', 0) for stage in stages):,} workers",
            ]
        )
    return Table(head, rows)


def stages_table(sessions: Sequence[SessionRecord], unit: str) -> Table:
    """Time by stage, over all sessions."""
    rows: Counter[str] = Counter()
    busy: defaultdict[str, float] = defaultdict(float)
    failures: Counter[str] = Counter()
    steps: dict[str, Counter[str]] = {}
    for session in sessions:
        for name, stage in (session.get("stages") or {}).items():
            rows[name] += stage.get("rows", 0)
            busy[name] += stage.get("busy_s", 0)
            failures[name] += sum((stage.get("failures") or {}).values())
            steps.setdefault(name, Counter()).update(stage.get("seconds") or {})
    return Table(
        ("stage", f"{unit}s", "busy s", f"ms/{unit}", "failures", "steps, s"),
        [
            [
                name,
                f"{rows[name]:,}",
                f"{busy[name]:,.1f}",
                f"{1000 * busy[name] / max(rows[name], 1):,.1f}",
                f"{failures[name]:,}",
                ", ".join(f"{step} {seconds:,.1f}" for step, seconds in of.items()),
            ]
            for name, of in steps.items()
        ],
    )


def models_table(sessions: Sequence[SessionRecord]) -> Table:
    """Models of each stage with digests of their weights, from the last session with a record."""
    said = [one["models"] for one in sessions if one.get("models")]
    models: Mapping[str, Mapping[str, Any]] = said[-1] if said else {}
    rows = [
        [stage, name, str(masked(value, name))]
        for stage, facts in models.items()
        for name, value in facts.items()
    ]
    return Table(("stage", "", "value"), rows)


def versions_table(sessions: Sequence[SessionRecord]) -> Table:
    """Versions of packages; several if sessions differ."""
    seen: dict[str, dict[str, None]] = {}
    for session in sessions:
        for name, version in (session.get("versions") or {}).items():
            seen.setdefault(name, {})[str(version)] = None
    return Table(("package", "version"), [[name, ", ".join(all_)] for name, all_ in seen.items()])


def manifest_of(run: RunDir) -> ManifestSummary | None:
    """Summary of the manifest; None if it cannot be read."""
    try:
        return load_summary(run.manifest)
    except NightjarError:
        return None


def source_table(summary: ManifestSummary | None) -> Table:
    """The listed source."""
    if summary is None:
        return Table(("", ""), [])
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(summary.kinds.items()))
    counts = {
        "files": summary.files,
        "rows": summary.pages,
        "bytes": summary.bytes,
        "files of an unknown kind, skipped": summary.skipped,
        "listed twice, processed once": summary.duplicates,
        **{f"skipped: {why}": count for why, count in summary.passed_over.items()},
        **{f"cannot be opened: {why}": count for why, count in summary.uncounted.items()},
    }
    path = masked(str(summary.source.get("path", "")), "path")
    rows = [["path", str(path)], ["listed", clock(summary.listed_at)], ["kinds", kinds]]
    attached = summary.about_attachments()
    rows += [["attachments", attached]] if attached else []
    return Table(("", ""), rows + [[name, f"{n:,}"] for name, n in counts.items() if n])


def config_text(record: Mapping[str, Any]) -> str:
    """The resolved config as YAML, without secrets."""
    text: str = yaml.safe_dump(masked(record.get("config") or {}), sort_keys=False)
    return text


def clock(moment: object) -> str:
    """An ISO time without fraction and zone. Other texts are only shortened."""
    return str(moment or "")[:19].replace("T", " ")


def _number(value: object, digits: int) -> str:
    return f"{value:,.{digits}f}" if isinstance(value, int | float) else ""
