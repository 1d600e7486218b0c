"""What every test may need: the command as a process of its own, and doubles that workers find."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent

# Ray's workers import the doubles by name; they inherit the environment, not our sys.path. The
# repository comes first: tests/pipelines would shadow pipelines.
os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (REPOSITORY, TESTS)))
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("NIGHTJAR_REPORT", "0")  # 2.4 s of CPU time for every run
# Ray's 15 lets the tests beside it starve its workers: 36 images took over 280 s.
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ["COLUMNS"] = "200"  # rich wraps at the terminal's width; messages are matched whole


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
