"""A head pod that Kubernetes ends lets its driver finish and commit what is in flight."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from infra_files import clusters

from pipelines.config import Limits

#: Seconds for the end of Ray and the last commits.
REST_S = 60


def heads() -> dict[str, dict[str, Any]]:
    """Object -> pod spec of the head of every cluster that runs drivers."""
    return {
        name: cluster["headGroupSpec"]["template"]["spec"]
        for name, cluster in clusters("base")
        if not name.startswith("RayService")
    }


def hook(pod: dict[str, Any]) -> list[str]:
    command: list[str] = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    return command


def sleeper(*arguments: str) -> subprocess.Popen[bytes]:
    """A process with these arguments on its command line."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *arguments])


@pytest.mark.parametrize("name", heads())
def test_a_head_has_time_for_the_rows_in_flight(name: str) -> None:
    assert heads()[name]["terminationGracePeriodSeconds"] >= Limits().finish_s + REST_S
    assert hook(heads()[name]) == hook(next(iter(heads().values())))


def test_the_hook_ends_drivers_and_nobody_else(tmp_path: Path) -> None:
    submitted = sleeper("-m", "jobs.cli", "run", "night.yaml")
    job = sleeper("/opt/nightjar/bin/nightjar", "run", "night.yaml")
    other = sleeper("/opt/nightjar/bin/nightjar-exporter", "jobs.cli.txt")
    for process in (submitted, job, other):  # other runs on this machine are not its business
        (tmp_path / str(process.pid)).symlink_to(f"/proc/{process.pid}")
    shell, option, script = hook(next(iter(heads().values())))
    with subprocess.Popen([shell, option, script.replace("/proc/", f"{tmp_path}/")]) as ending:
        assert submitted.wait(timeout=30) == -signal.SIGTERM
        assert job.wait(timeout=30) == -signal.SIGTERM
        assert ending.wait(timeout=30) == 0, "it waits until the drivers are over"
    assert other.poll() is None
    other.kill()
    other.wait()
