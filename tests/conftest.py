"""What every test may need: the command as a process of its own, and doubles that workers find."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM
from typing import Any

import pytest
import yaml

from jobs.cli import main

pytest_plugins = ["long_proofs"]

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent

# Ray's workers import the doubles by name; they inherit the environment, not our sys.path. The
# repository comes first: tests/pipelines would shadow pipelines.
os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (REPOSITORY, TESTS)))
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("NIGHTJAR_REPORT", "0")  # 2.4 s of CPU time for every run
# Ray's 15 lets the tests beside it starve its workers: 36 images took over 280 s.
os.environ.setdefault("RAY_worker_niceness", "0")
# Commands that tests start must hear it: under nohup, it is ignored in every child.
signal.signal(SIGHUP, signal.SIG_DFL)
os.environ["COLUMNS"] = "200"  # rich wraps at the terminal's width; messages are matched whole

#: Files of over 20 s, the longest first. `make test` starts with them, so that both processes end
#: together: by number of tests, as pytest-xdist sorts, nights of 100 s with one test came last.
LONGEST = (
    "docs/test_commands.py",
    "jobs/test_run_autolabel.py",
    "pipelines/engine/test_waves.py",
    "pipelines/storage/test_outage.py",
    "pipelines/engine/test_kill.py",
    "jobs/test_stopping.py",
    "jobs/test_run_again.py",
    "jobs/test_submit.py",
    "jobs/test_app_browser.py",
    "docs/test_extend.py",
    "actors/segmentation/test_sam3.py",
    "pipelines/serving/test_vlm_endpoint.py",
    "pipelines/engine/test_declared_gpus.py",
    "jobs/test_run_secure.py",
    "actors/ocr/test_paddle_ocr.py",
    "actors/test_heap.py",
    "jobs/test_old_runs.py",
    "jobs/test_run_cascade.py",
    "jobs/test_run_bad_input.py",
    "pipelines/runs/test_s3_runs.py",
    "pipelines/report/test_report.py",
    "benchmarks/test_labelling_benchmark.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, each in its own order."""
    place = {TESTS / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@dataclass(frozen=True)
class Ended:
    """What a finished command left."""

    code: int
    out: str
    err: str


def nightjar_argv(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "jobs.cli", *map(str, arguments)]


@pytest.fixture
def nightjar(tmp_path: Path) -> Callable[..., Ended]:
    """Run ``nightjar ARGUMENTS`` as a process in `tmp_path`; its exit code and output."""

    def run(*arguments: str | Path, timeout: float = 580) -> Ended:
        done = subprocess.run(
            nightjar_argv(*arguments), cwd=tmp_path, capture_output=True, text=True, timeout=timeout
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


def in_this_process(folder: Path, *arguments: str | Path) -> Ended:
    """``nightjar ARGUMENTS`` in `folder`, without the 2 to 5 s that its imports take.

    For commands that start no Ray: a run sets up its whole process.
    """
    out, err, argv = StringIO(), StringIO(), sys.argv
    handlers = {number: signal.getsignal(number) for number in (SIGINT, SIGTERM, SIGHUP)}
    sys.argv = ["nightjar", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err), chdir(folder):
            main()
    except SystemExit as left:
        return Ended(int(left.code or 0), out.getvalue(), err.getvalue())
    finally:
        sys.argv = argv
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Ended(0, out.getvalue(), err.getvalue())


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Ended]:
    """The same as `nightjar` for a command that starts no Ray, in this process."""
    return partial(in_this_process, tmp_path)


@pytest.fixture(scope="module")
def frozen_heap() -> Iterator[None]:
    """As in a worker process: what was imported costs a gc.collect() nothing (0.2 s otherwise)."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the processes of pytest-xdist share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def _quickstart(job: str, folder: Path) -> Path:
    """The finished quickstart of a job: made once per test run, 30 s, and only read by tests.

    `output.txt` beside it is what the command printed.
    """
    run = folder / job / "runs" / f"{job.partition('_')[0]}_quickstart"
    output = folder / job / "output.txt"
    with (folder / f"{job}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not output.exists():
            run.parent.mkdir(parents=True)
            (folder / job / "configs").symlink_to(REPOSITORY / "configs")
            argv = nightjar_argv("run", f"configs/{job}/quickstart.yaml")
            done = subprocess.run(
                argv, cwd=folder / job, capture_output=True, text=True, timeout=580
            )
            assert done.returncode == 0, done.stderr
            output.write_text(done.stdout)
    return run


@pytest.fixture(scope="session")
def ocr_quickstart(shared: Path) -> Path:
    """The run directory of the finished OCR quickstart; read only."""
    return _quickstart("ocr_backfill", shared)


@pytest.fixture(scope="session")
def labelling_quickstart(shared: Path) -> Path:
    """The run directory of the finished labelling quickstart; read only."""
    return _quickstart("autolabel", shared)


def write_config(folder: Path, source: Path | str, /, **changes: Any) -> Path:
    """A small OCR backfill config in `folder` for `source`; `changes` replace top-level keys."""
    config: dict[str, Any] = {
        "job": "ocr_backfill",
        "run_dir": str(folder / "run"),
        "source": {"path": str(source)},
        "fetch_pool": {"batch_size": 4, "num_cpus": 0.25},
        "ocr_pool": {"batch_size": 4, "num_cpus": 0.75, "max_size": None},
        "ray": {"object_store_mb": 200},
        **changes,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def kinds(rows: Sequence[dict[str, Any]], column: str = "fetch_failure") -> dict[str, str | None]:
    """uri's file name -> failure kind."""
    return {Path(r["uri"]).name: (r[column] or {}).get("kind") for r in rows}
