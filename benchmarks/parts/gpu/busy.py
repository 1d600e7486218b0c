"""How long the GPU worked during a function, from torch's profiler."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def kernel_seconds(run: Callable[[], Any]) -> float | None:
    """Seconds with at least one kernel on the GPU while `run` runs; None if the profiler saw none.

    Profiling slows the CPU down, but not the kernels. So the share of time in which the GPU is busy
    is these seconds over the time of a pass without the profiler. Copies do not count.
    """
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        run()
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        seen.export_chrome_trace(str(path))
        return busy_seconds(json.loads(path.read_text())["traceEvents"])


def busy_seconds(events: Iterable[dict[str, Any]]) -> float | None:
    """Length of the union of all kernels of a Chrome trace, seconds; None without kernels.

    `events`: of the format in which torch's profiler writes them; `ts` and `dur` in microseconds.
    """
    kernels = sorted(
        (float(event["ts"]), float(event["dur"]))
        for event in events
        if event.get("cat") == "kernel" and event.get("ph") == "X"
    )
    if not kernels:
        return None
    total, end = 0.0, kernels[0][0]
    for start, length in kernels:
        total += max(0.0, start + length - max(start, end))
        end = max(end, start + length)
    return total / 1e6
