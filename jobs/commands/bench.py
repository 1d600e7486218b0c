"""`nightjar bench`: the benchmarks of a checkout, by name."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipelines.errors import ConfigError, RunFailed

#: Benchmarks are no part of the wheel: they need peers, truth and a checkout's pocket models.
FOLDER = Path(__file__).parents[2] / "benchmarks"


def names(folder: Path = FOLDER) -> dict[str, str]:
    """Benchmark -> the first line of what it says of itself: scripts that write a report."""
    found = {}
    for path in sorted(folder.glob("*.py")):
        text = path.read_text()
        said = ast.get_docstring(ast.parse(text))
        if said and "\nfrom parts.report import " in text and "python benchmarks/" in said:
            found[path.stem] = said.splitlines()[0]
    return found


def command(console: Console, name: str | None, arguments: Sequence[str]) -> None:
    """Run one benchmark with its own arguments, or list them all.

    Raises ConfigError for a name that is none, RunFailed where the benchmark fails.
    """
    known = names()
    if not known:
        raise ConfigError(
            f"there are no benchmarks at {FOLDER}",
            "they come with the repository, not with the wheel: run this in a checkout",
        )
    if name is None:
        _list(console, known)
        return
    if name not in known:
        raise ConfigError(f"no benchmark {name!r}", f"there are {', '.join(known)}")
    ended = subprocess.run([sys.executable, str(FOLDER / f"{name}.py"), *arguments], check=False)
    if ended.returncode:
        raise RunFailed(
            f"benchmark {name} ended with exit code {ended.returncode}", "its own lines say why"
        )


def _list(console: Console, known: dict[str, str]) -> None:
    table = Table("name", "what it measures", "last result", box=None)
    for name, what in known.items():
        table.add_row(name, what, _last(name))
    console.print(table)
    console.print("nightjar bench NAME ARGUMENTS; NAME --help says which", style="dim")


def _last(name: str) -> str:
    """Date and machine of the newest result in the checkout."""
    results = sorted((FOLDER / "results").glob(f"{name}-*.json"))
    if not results:
        return "-"
    report = json.loads(results[-1].read_text())
    return f"{report.get('date', '?')}, {report.get('machine', '?')}"
