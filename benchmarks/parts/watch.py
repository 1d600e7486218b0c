"""Memory and CPU time of a run's processes by role, measured from outside."""

from __future__ import annotations

import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import psutil

#: End of a command line's first word -> role of the process.
ROLES = {"raylet": "raylet", "gcs_server": "gcs", "ray::Board": "scoreboard"}
#: Name of a pool's workers. A worker with a model has one of the runtimes in memory.
WORKER, RUNTIMES = "MapWorker", ("openvino", "libtorch_cpu", "onnxruntime")
#: Seconds between two measurements of CPU time (cheap) and of memory (expensive).
_CPU_S, _MEMORY_S = 0.5, 5.0


@dataclass
class Watched:
    """Peak of the summed proportional set sizes in MB, and CPU seconds by role over time."""

    peak_mb: float = 0.0
    cpu: list[tuple[float, dict[str, float]]] = field(default_factory=list)

    def cpu_between(self, began: float, ended: float) -> dict[str, float]:
        """CPU seconds by role between two times (`time.time()`), exact to half a second."""
        inside = [used for at, used in self.cpu if began <= at <= ended]
        if not inside:
            return {}
        return {role: inside[-1][role] - inside[0].get(role, 0.0) for role in inside[-1]}


def watched(process: subprocess.Popen[bytes]) -> Watched:
    """Wait for the process to end, and measure it and all its children."""
    found, parent = Watched(), psutil.Process(process.pid)
    roles: dict[int, str] = {}
    used: dict[int, tuple[str, float]] = {}
    next_memory = 0.0
    while process.poll() is None:
        family = _family(parent)
        for one in family:
            _note(one, parent, roles, used)
        total: dict[str, float] = defaultdict(float)
        for role, seconds in used.values():  # ended processes keep their seconds
            total[role] += seconds
        found.cpu.append((time.time(), dict(total)))
        if time.monotonic() >= next_memory:
            found.peak_mb = max(found.peak_mb, sum(map(_pss, family)) / 1e6)
            next_memory = time.monotonic() + _MEMORY_S
        time.sleep(_CPU_S)
    return found


def _family(parent: psutil.Process) -> list[psutil.Process]:
    try:
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _note(
    process: psutil.Process,
    parent: psutil.Process,
    roles: dict[int, str],
    used: dict[int, tuple[str, float]],
) -> None:
    try:
        known = roles.get(process.pid)
        if known not in ("driver", "models"):  # at first a worker has no title, then no model
            known = "driver" if process.pid == parent.pid else role_of(process)
            roles[process.pid] = known
        times = process.cpu_times()
    except (psutil.NoSuchProcess, psutil.ZombieProcess, OSError):
        return
    used[process.pid] = known, times.user + times.system


def role_of(process: psutil.Process) -> str:
    """`models`, `fetch`, `raylet`, `gcs`, `scoreboard`, `rest`."""
    words = " ".join(process.cmdline())
    if WORKER in words:
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        return "models" if any(name in maps for name in RUNTIMES) else "fetch"
    first = words.split(" ")[0]
    return next((name for mark, name in ROLES.items() if first.endswith(mark)), "rest")


def beside_models(cpu_s: dict[str, float], core_s: float) -> dict[str, float]:
    """Core seconds by cause, without the workers that hold models.

    `cpu_s`: from `cpu_between`. `core_s`: cores x seconds of the same time. `idle`: unused core
    seconds.
    """
    others = {role: used for role, used in cpu_s.items() if role != "models"}
    found = {"fetch worker": others.pop("fetch", 0.0), "driver": others.pop("driver", 0.0)}
    return found | {
        "Ray's own processes": sum(others.values()),
        "idle": core_s - sum(cpu_s.values()),
    }


def _pss(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0.0
