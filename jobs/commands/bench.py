"""`nightjar bench`: run the benchmarks of a checkout by name."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from jobs.console.fitted import FittedTable
from pipelines.errors import ConfigError, RunFailed

#: Benchmarks are not in the wheel: they need peers, truth and the pocket models of a checkout.
FOLDER = Path(__file__).parents[2] / "benchmarks"


def names(folder: Path = FOLDER) -> dict[str, str]:
    """Benchmark -> first line of its docstring. Benchmarks are the scripts that write a report."""
    found = {}
    for path in sorted(folder.glob("*.py")):
        text = path.read_text()
        said = ast.get_docstring(ast.parse(text))
        if said and "\nfrom parts.report import " in text and "python benchmarks/" in said:
            found[path.stem] = said.splitlines()[0]
    return found


def command(console: Console, name: str | None, arguments: Sequence[str]) -> None:
    """Run one benchmark with its own arguments, or list them all.

    Raises ConfigError for an unknown name, RunFailed if the benchmark fails.
    """
    known = names()
    if not known:
        raise ConfigError(
            f"there are no benchmarks in {FOLDER}",
            "call this in a checkout of the repository; the wheel has no benchmarks",
        )
    if name is None:
        _list(console, known)
        return
    if name not in known:
        raise ConfigError(f"no benchmark {name!r}", f"choose one of: {', '.join(known)}")
    ended = subprocess.run([sys.executable, str(FOLDER / f"{name}.py"), *arguments], check=False)
    if ended.returncode:
        raise RunFailed(
            f"benchmark {name} ended with exit code {ended.returncode}", "see its output above"
        )


def _list(console: Console, known: dict[str, str]) -> None:
    texts = ("what it measures", "last result")
    table = FittedTable("name", *texts, texts=texts)
    for name, what in known.items():
        table.add_row(name, what, _last(name))
    console.print(table)
    console.print(
        "nightjar bench NAME ARGUMENTS; arguments: nightjar bench NAME --help", style="dim"
    )


def _last(name: str) -> str:
    """Date and machine of the newest result in the checkout."""
    results = sorted((FOLDER / "results").glob(f"{name}-*.json"))
    if not results:
        return "-"
    report = json.loads(results[-1].read_text())
    return f"{report.get('date', '?')}, {report.get('machine', '?')}"
