"""Cost of size: plan, resume and run up to 10^6 objects, and time lost between waves.

    python benchmarks/scale.py [--objects 1000000] [--out DIR] [--only PART ...]

The model does nothing, so only Nightjar and Ray are measured. Every measurement runs in its own
process. `peak` is the largest resident memory (VmHWM) of the driver.

- plan: real PNG files of 69 bytes, 1,000 per folder; and a Parquet list of the same files.
- resume: 99 of 100 rows are in shards; time and memory to find the other rows.
- growth: time per row from first to last batch, for runs of 10^3, 10^4 and 10^5 rows.
- waves: the same rows as one wave and as four, with a model that loads at once and a model that
  loads in 10 s; time lost between the last batch of a wave and the first batch of the next.
- million: all objects in one run.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from parts.report import head, result_stem, table, write

HERE = Path(__file__).parent
PER_FOLDER = 1000
SHARD_ROWS = 2048


def main() -> None:
    arguments = _arguments()
    if arguments.child:
        print(json.dumps(_child(json.loads(arguments.child))))
        return
    scratch = arguments.scratch.resolve()
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    before = max(arguments.out.glob("scale-*.json"), default=None)
    results: dict[str, Any] = {}
    if arguments.keep and before:
        results = json.loads(before.read_text())["results"]
    try:
        for name in arguments.only or PARTS:
            results[name] = PARTS[name](scratch, arguments.objects)
            print(name, json.dumps(results[name]), flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    _report(arguments.out, arguments.objects, results)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--scratch", type=Path, default=Path("runs/scale"))
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--only", nargs="*", choices=PARTS, help="parts to measure; default: all")
    parser.add_argument("--keep", action="store_true", help="keep the figures of the other parts")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


# --- measurements in child processes --------------------------------------------------------------


def _child(task: dict[str, Any]) -> dict[str, Any]:
    """Run one measurement. Imports are not measured."""
    importlib.import_module("parts.scale_job")

    importlib.import_module("pipelines.run")

    start = time.perf_counter()
    result = {"plan": _plan, "resume": _resume, "run": _run}[task.pop("what")](**task)
    return result | {"seconds": round(time.perf_counter() - start, 2), "peak_mb": _peak_mb()}


def _peak_mb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def _config(source: str, run_dir: str, **changes: Any) -> Any:
    from parts.scale_job import ScaleConfig

    raw = {"job": "scale", "run_dir": run_dir, "source": {"path": source}}
    return ScaleConfig.model_validate(raw | {"ray": {"object_store_mb": 500}} | changes)


def _plan(source: str, run_dir: str) -> dict[str, Any]:
    from parts.scale_job import JOB

    from pipelines.run import Run

    with Run.of(JOB, _config(source, run_dir)).opened() as run:
        summary = run.plan()
    return {"files": summary.files, "parts": summary.parts}


def _resume(source: str, run_dir: str) -> dict[str, Any]:
    """The work of `execute` before its first row."""
    from parts.scale_job import JOB

    from pipelines.run import Run

    return {"owed": Run.of(JOB, _config(source, run_dir)).owed()}


def _run(source: str, run_dir: str, rows: int, **changes: Any) -> dict[str, Any]:
    from parts.scale_job import JOB

    from pipelines.run import Run

    seen: list[tuple[float, int]] = []
    cpu: list[tuple[int, float]] = []  # (rows, seconds of all processes), from the first row on

    def watch(progress: Any) -> None:
        done = sum(score.rows for score in progress.scores.values())
        seen.append((time.time(), done))
        if done:
            cpu[1:] = [(done, _cpu_s())]  # the first stays

    with Run.of(JOB, _config(source, run_dir, **changes)).opened() as run:
        summary = run.plan()
        assert summary.pages == rows
        ended = run.execute(watch)
    assert ended is not None
    session = ended.record()
    stage = session["stages"]["measure"]
    working_s = stage["last_batch_at"] - stage["first_batch_at"]
    return {
        "rows": session["rows"],
        "start_up_s": session["start_up_s"],
        "first_commit_s": session["first_commit_s"],
        "working_s": round(working_s, 2),
        "us_per_row": round(working_s / rows * 1e6, 1),
        "cpu_us_per_row": _slope(cpu),
        "between_waves_s": _pauses(seen, summary.parts, rows),
    }


def _cpu_s() -> float:
    """CPU seconds of this process and of all Ray processes."""
    found = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            found += times.user + times.system
    return found


def _slope(cpu: list[tuple[int, float]]) -> float | None:
    """CPU microseconds per row between the first and the last sample; None for a single sample."""
    (first, begun), (last, ended) = cpu[0], cpu[-1]
    return round((ended - begun) / (last - first) * 1e6, 1) if last > first else None


def _pauses(seen: list[tuple[float, int]], waves: int, rows: int) -> list[float]:
    """Seconds without a finished row at the end of each wave but the last."""
    pauses = []
    for wave in range(1, waves):
        times = [at for at, done in seen if done == wave * (rows // waves)]
        pauses.append(round(times[-1] - times[0], 1) if times else 0.0)
    return pauses


# --- parts, prepared by the parent ----------------------------------------------------------------


def _measured(what: str, **task: Any) -> dict[str, Any]:
    """Run a child process and return its answer."""
    paths = [str(HERE), str(HERE.parent)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "RAY_AUTH_MODE": "token"}
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps({"what": what, **task})],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"the measurement {what} {task} failed: see its output above")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def tiny_png() -> bytes:
    """One white pixel, 69 bytes."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))]
    parts += [(b"IDAT", zlib.compress(b"\0\xff")), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _files(folder: Path, count: int) -> list[str]:
    """Make real files; existing files are kept."""
    picture, paths = tiny_png(), []
    for number in range(count):
        path = folder / f"{number // PER_FOLDER:04}" / f"{number % PER_FOLDER:03}.png"
        paths.append(str(path))
        if number % PER_FOLDER == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(picture)
    return paths


def plan(scratch: Path, objects: int) -> dict[str, Any]:
    """List and plan files and a list: a tenth of the objects, then all."""
    results = {}
    for count in (objects // 10, objects):
        folder = scratch / f"files-{count}"
        paths = _files(folder, count)
        listed = folder / "list.parquet"
        pq.write_table(pa.table({"uri": paths}), listed)
        for kind, source in (("folder", f"{folder}/*/*.png"), ("list", str(listed))):
            name = f"{kind} {count}"
            found = _measured("plan", source=source, run_dir=str(scratch / f"plan {name}"))
            assert found["files"] == count
            results[name] = found | {"per_s": round(count / found["seconds"])}
        if count != objects:
            shutil.rmtree(folder)
    return results


def resume(scratch: Path, objects: int) -> dict[str, Any]:
    """Resume from generated shards that hold 99 of 100 rows."""
    results = {}
    for count in (objects // 10, objects):
        run_dir = scratch / f"resume-{count}"
        manifest(run_dir, count)
        for part in sorted((run_dir / "manifest").glob("part-*.parquet")):
            rows = pq.read_table(part)
            rows = rows.filter(pa.array(np.arange(rows.num_rows) % 100 != 0))
            for start in range(0, rows.num_rows, SHARD_ROWS):
                path = run_dir / "shards" / f"{part.stem}-{start:016x}.parquet"
                pq.write_table(rows.slice(start, SHARD_ROWS), path)
        results[str(count)] = _measured("resume", source="/nowhere", run_dir=str(run_dir))
    return results


def manifest(run_dir: Path, count: int, rows_per_part: int = 250_000) -> None:
    """A frozen manifest of objects that do not exist; the model never reads them."""
    from pipelines.sources.manifest import MANIFEST, ManifestSummary, row_id

    for name in ("manifest", "shards"):
        (run_dir / name).mkdir(parents=True)
    parts = range(0, count, rows_per_part)
    for number, start in enumerate(parts):
        uris = [
            f"s3://bucket/some/folder/{i:09}.jpg"
            for i in range(start, min(start + rows_per_part, count))
        ]
        columns = {
            "row_id": [row_id(uri, "v1", 1) for uri in uris],
            "uri": uris,
            "etag": ["d41d8cd98f00b204e9800998ecf8427e"] * len(uris),
            "kind": ["jpeg"] * len(uris),
            **{name: [1] * len(uris) for name in ("page", "pages", "bytes")},
        }
        rows = pa.table({f.name: pa.array(columns[f.name], f.type) for f in MANIFEST})
        pq.write_table(rows, run_dir / "manifest" / f"part-{number:05}.parquet")
    summary = ManifestSummary(
        listed_at="", source={}, parts=len(parts), files=count, pages=count, bytes=count,
        kinds={"jpeg": count}, skipped=0, duplicates=0, passed_over={}, uncounted={},
    )  # fmt: skip
    (run_dir / "manifest/_SUMMARY.json").write_text(summary.model_dump_json())


def growth(scratch: Path, objects: int) -> dict[str, Any]:
    """10^3 to 10^5 rows in one wave, in turns."""
    found: dict[str, list[dict[str, Any]]] = {}
    for repeat in range(3):
        for rows in (1_000, 10_000, 100_000):
            run_dir = scratch / f"growth-{rows}-{repeat}"
            manifest(run_dir, rows)
            one = _measured("run", source="/nowhere", run_dir=str(run_dir), rows=rows)
            found.setdefault(str(rows), []).append(one)
            print(rows, one, flush=True)
    return {
        rows: {
            "us_per_row": statistics.median(one["us_per_row"] for one in runs),
            "all": [one["us_per_row"] for one in runs],
            "cpu_us_per_row": [one["cpu_us_per_row"] for one in runs],
            "start_up_s": statistics.median(one["start_up_s"] for one in runs),
            "first_commit_s": statistics.median(one["first_commit_s"] for one in runs),
            "peak_mb": max(one["peak_mb"] for one in runs),
        }
        for rows, runs in found.items()
    }


def waves(scratch: Path, objects: int) -> dict[str, Any]:
    """40,000 rows as one wave and as four."""
    results = {}
    for load_s in (0, 10):
        for count in (1, 4):
            name = f"{count} waves, {load_s} s to load"
            run_dir = scratch / f"waves-{load_s}-{count}"
            manifest(run_dir, 40_000, 40_000 // count)
            results[name] = _measured(
                "run", source="/nowhere", run_dir=str(run_dir), rows=40_000,
                measure={"load_s": load_s},
            )  # fmt: skip
    return results


def million(scratch: Path, objects: int) -> dict[str, Any]:
    """All objects in one run, in batches of 64."""
    run_dir = scratch / "million"
    manifest(run_dir, objects)
    pool = {"batch_size": 64, "num_cpus": 1, "max_size": 1}
    return _measured(
        "run", source="/nowhere", run_dir=str(run_dir), rows=objects, measure_pool=pool
    )


PARTS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    one.__name__: one for one in (plan, resume, growth, waves, million)
}


# --- the report -----------------------------------------------------------------------------------


def _report(out: Path, objects: int, results: dict[str, Any]) -> None:
    document = {**head(), "objects": objects, "results": results}
    lines = [
        "# Cost of size",
        "",
        f"{document['date']}, {document['machine']}, shared by Ray and the driver. "
        "`benchmarks/scale.py` explains the parts. Memory is the driver's peak.",
    ]
    for name, tell in (
        ("plan", _plan_lines),
        ("resume", _resume_lines),
        ("growth", _growth_lines),
        ("waves", _run_lines),
        ("million", lambda found: _run_lines({f"{objects:,} rows in one run": found})),
    ):
        if name in results:
            lines += ["", f"## {name}", "", *tell(results[name])]
    write(result_stem(out, "scale", document), document, lines)


def _plan_lines(found: dict[str, Any]) -> list[str]:
    columns = ("source, objects", "seconds", "objects/s", "peak MB")
    rows = [(k, f"{v['seconds']}", f"{v['per_s']:,}", f"{v['peak_mb']}") for k, v in found.items()]
    return table(columns, rows)


def _resume_lines(found: dict[str, Any]) -> list[str]:
    rows = [
        (f"{int(k):,}", f"{v['owed']:,}", f"{v['seconds']}", f"{v['peak_mb']}")
        for k, v in found.items()
    ]
    return table(("rows", "rows left", "seconds", "peak MB"), rows)


def _growth_lines(found: dict[str, Any]) -> list[str]:
    columns = ("rows", "µs per row", "each run", "CPU µs", "start-up s", "first commit s", "MB")
    rows = [
        (
            f"{int(k):,}",
            f"{v['us_per_row']}",
            ", ".join(map(str, v["all"])),
            ", ".join(map(str, v["cpu_us_per_row"])),
            f"{v['start_up_s']}",
            f"{v['first_commit_s']}",
            f"{v['peak_mb']}",
        )
        for k, v in found.items()
    ]
    return [*table(columns, rows), "", _marginal(found)]


def _marginal(found: dict[str, Any]) -> str:
    """Marginal cost of a row, without the fixed cost of a run."""
    sizes = sorted(map(int, found))
    spent = {n: n * found[str(n)]["us_per_row"] for n in sizes}
    parts = [
        f"{(spent[more] - spent[n]) / (more - n):.0f} µs between {n:,} and {more:,} rows"
        for n, more in itertools.pairwise(sizes)
    ]
    return f"One more row costs {', '.join(parts)}."


def _run_lines(found: dict[str, Any]) -> list[str]:
    columns = ("run", "rows/s", "first commit s", "between waves s", "total s", "peak MB")
    rows = [
        (
            k,
            f"{1e6 / v['us_per_row']:,.0f}",
            f"{v['first_commit_s']}",
            ", ".join(map(str, v["between_waves_s"])) or "-",
            f"{v['seconds']}",
            f"{v['peak_mb']}",
        )
        for k, v in found.items()
    ]
    return table(columns, rows)


if __name__ == "__main__":
    main()
