"""Child processes: one with captured output, or several that start their work together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def quiet(argv: Sequence[str], environment: dict[str, str] | None = None) -> str:
    """Run a command and return its output. If it fails, exit with the end of its error output."""
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv[:3])} ... failed:\n{done.stderr[-2000:]}")
    return done.stdout


def together(argv: Sequence[str], tasks: Sequence[Any]) -> tuple[float, list[Any]]:
    """Run one process of `argv` per task, all at the same time.

    A process calls `answer_together`: it reads its task, prepares, prints READY, waits for GO,
    works, and answers. Returns the seconds from GO to the last answer, and the answers.
    """
    here, given = str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")
    path = {"PYTHONPATH": os.pathsep.join(filter(None, (here, given)))}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(argv, **pipes, env=os.environ | path) for _ in tasks]
    for worker, task in zip(workers, tasks, strict=True):
        _say(worker, json.dumps(task))
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == "READY\n"
    start = time.perf_counter()
    for worker in workers:
        _say(worker, "GO")
    answers = [json.loads(worker.stdout.readline()) for worker in workers if worker.stdout]
    seconds = time.perf_counter() - start
    for worker in workers:
        worker.wait()
    return seconds, answers


def _say(worker: subprocess.Popen[str], line: str) -> None:
    assert worker.stdin
    worker.stdin.write(line + "\n")
    worker.stdin.flush()


def answer_together(prepare: Callable[[Any], Callable[[], Any]]) -> None:
    """The process side of `together`. `prepare` takes the task and returns the timed function."""
    work = prepare(json.loads(sys.stdin.readline()))
    print("READY", flush=True)
    sys.stdin.readline()
    print(json.dumps(work()), flush=True)
