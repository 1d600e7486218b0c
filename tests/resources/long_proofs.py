"""Long tests: which of them CI runs for a commit, and when each last passed.

A pytest plugin, loaded by `tests/conftest.py`. The table has a row per long test: its id, the
seconds it took, and the date and commit of its last pass.

`--long-share MINUTES` runs the long tests that the commit's hash picks, and a closing line names
them. `--record-long` writes the long tests that pass into the table.
"""

from __future__ import annotations

import ast
import csv
import datetime
import hashlib
import math
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TABLE = REPOSITORY / "benchmarks/results/long-proofs.csv"


@dataclass(frozen=True)
class Proof:
    """A long test when it last passed."""

    test: str
    seconds: int
    last_passed: str
    commit: str


def read_table(path: Path) -> list[Proof]:
    """The rows of the table; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as lines:
        return [Proof(**row | {"seconds": int(row["seconds"])}) for row in csv.DictReader(lines)]


def write_table(proofs: Sequence[Proof], path: Path) -> None:
    """One row per test, in the order of their ids."""
    with path.open("w", newline="") as lines:
        names = [field.name for field in fields(Proof)]
        table = csv.DictWriter(lines, names, lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(proof) for proof in sorted(proofs, key=lambda one: one.test))


def too_long(proofs: Sequence[Proof], minutes: float) -> list[Proof]:
    """Those that CI never runs: one of them takes longer than the whole share."""
    return [proof for proof in proofs if proof.seconds > 60 * minutes]


def groups(proofs: Sequence[Proof], minutes: float) -> list[list[Proof]]:
    """All proofs that are not too long, in groups of at most `minutes`: the longest first, each
    into the first group that has room."""
    found: list[list[Proof]] = []
    for proof in sorted(proofs, key=lambda one: (-one.seconds, one.test)):
        room = 60 * minutes - proof.seconds
        fitting = (group for group in found if sum(one.seconds for one in group) <= room)
        if (group := next(fitting, None)) is not None:
            group.append(proof)
        elif room >= 0:
            found.append([proof])
    return found


def share(proofs: Sequence[Proof], minutes: float, commit: str) -> list[Proof]:
    """The group that the hash of `commit` picks; none where every proof is too long."""
    found = groups(proofs, minutes)
    number = int(hashlib.sha256(commit.encode()).hexdigest(), 16)
    return found[number % len(found)] if found else []


def long_tests(folder: Path) -> set[str]:
    """`path::function` of every function in `folder` with the mark `long`, without importing it."""
    found = set()
    for path in folder.rglob("test_*.py"):
        if "mark.long" in (text := path.read_text()):
            for node in ast.walk(ast.parse(text)):
                marks = getattr(node, "decorator_list", [])
                if "pytest.mark.long" in map(ast.unparse, marks):
                    found.add(f"{path.relative_to(folder.parent)}::{node.name}")
    return found


def function_of(proof: Proof) -> str:
    """`path::function`, without the parameters."""
    return proof.test.partition("[")[0]


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


class Share:
    """A pytest session that runs the share of the current commit."""

    def __init__(self, minutes: float, path: Path) -> None:
        self.minutes, self.commit, self.table = minutes, _git("rev-parse", "HEAD"), read_table(path)
        self.picked = share(self.table, minutes, self.commit)
        if not self.picked:
            raise pytest.UsageError(f"no long test fits into {minutes:g} minutes: see {path}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The last lines: what ran, and what never runs here."""
        say = terminalreporter.write_line
        of = len(groups(self.table, self.minutes))
        say(f"Long tests of commit {self.commit[:8]}, one of {of} groups of {self.minutes:g} min:")
        for proof in self.picked:
            say(f"  {proof.test}")
        say("Run by hand with `make test-long`, for they take longer or are not in the table:")
        for proof in too_long(self.table, self.minutes):
            say(f"  {proof.test} ({proof.seconds} s, last passed {proof.last_passed})")
        for test in sorted(long_tests(REPOSITORY / "tests") - set(map(function_of, self.table))):
            say(f"  {test} (never passed with --record-long)")


class Recorder:
    """A pytest session whose passed long tests go into the table."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, float] = defaultdict(float)
        self.passed: set[str] = set()
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the set-up, the test and the tear-down of a long test."""
        if "long" in report.keywords:
            self.seconds[report.nodeid] += report.duration
            if not report.passed:
                self.failed.add(report.nodeid)
            elif report.when == "call":  # a test that is interrupted has only the other two reports
                self.passed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Replace the rows of those that passed."""
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        commit = _git("describe", "--always", "--dirty", "--exclude", "*")
        table = {proof.test: proof for proof in read_table(self.path)}
        for test in self.passed - self.failed:
            table[test] = Proof(test, math.ceil(self.seconds[test]), today, commit)
        write_table(list(table.values()), self.path)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this plugin."""
    group = parser.getgroup("long tests")
    group.addoption("--long-share", type=float, metavar="MINUTES", help="what CI runs of them")
    group.addoption("--record-long", action="store_true", help="write passes into the table")
    group.addoption("--long-table", type=Path, metavar="FILE", default=TABLE)


def pytest_configure(config: pytest.Config) -> None:
    """Start what the options ask for."""
    path = config.getoption("--long-table")
    if minutes := config.getoption("--long-share"):
        config.pluginmanager.register(one := Share(minutes, path))
        config.args[:] = [proof.test for proof in one.picked]
    if config.getoption("--record-long"):
        config.pluginmanager.register(Recorder(path))
