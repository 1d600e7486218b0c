"""Which long tests CI runs for a commit, the table of all, and which files start first."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from conftest import LONGEST, TESTS, Ended
from hypothesis import given
from hypothesis import strategies as st
from long_proofs import (
    TABLE,
    Proof,
    function_of,
    groups,
    long_tests,
    read_table,
    share,
    too_long,
    write_table,
)


def proofs(*seconds: int) -> list[Proof]:
    return [Proof(f"test_{n:02d}", took, "2026-11-30", "a1b2") for n, took in enumerate(seconds)]


@given(st.lists(st.integers(0, 400), max_size=30), st.sampled_from([1, 3, 15]))
def test_every_proof_is_in_one_group_or_run_by_hand(seconds: list[int], minutes: int) -> None:
    table = proofs(*seconds)
    found = groups(table, minutes)
    everywhere = [*(proof for group in found for proof in group), *too_long(table, minutes)]
    assert sorted(everywhere, key=lambda one: one.test) == table
    lengths = [sum(proof.seconds for proof in group) for group in found]
    assert all(length <= 60 * minutes for length in lengths)
    assert all(a + b > 60 * minutes for a, b in pairwise(lengths))


def test_a_commit_picks_one_group_and_some_commit_picks_each() -> None:
    table = proofs(170, 100, 90, 60, 50, 181)
    commits = [f"{n:040x}" for n in range(40)]
    picked = [share(table, 3, commit) for commit in commits]
    assert picked == [share(table[::-1], 3, commit) for commit in commits]
    assert {proof.seconds for group in picked for proof in group} == {170, 100, 90, 60, 50}
    assert share(proofs(61), 1, commits[0]) == []


_SUITE = """
import pytest

@pytest.mark.long
@pytest.mark.parametrize("good", [True, False])
def test_it(good):
    assert good

@pytest.mark.long
def test_without_its_server():
    pytest.skip("no server")

def test_quick():
    pass

@pytest.mark.long
def test_interrupted():
    raise KeyboardInterrupt
"""


def pytest_in(folder: Path, *arguments: str) -> Ended:
    """Pytest with the plugin, and with a table in `folder`."""
    argv = ["-m", "pytest", "-p", "long_proofs", "-p", "no:cacheprovider", "--long-table=table.csv"]
    done = subprocess.run(
        [sys.executable, *argv, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(TESTS / "resources")},
        capture_output=True,
        text=True,
        timeout=100,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def test_a_pass_gets_a_date_and_the_share_names_what_it_ran(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(_SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = long")
    old = [
        Proof(f"test_suite.py::{name}", seconds, "2026-01-01", "a1b2")
        for name, seconds in (("test_it[False]", 400), ("test_without_its_server", 400))
    ]
    write_table(old, tmp_path / "table.csv")
    assert pytest_in(tmp_path, "--record-long").code == 2, "interrupted"
    table = {proof.test: proof for proof in read_table(tmp_path / "table.csv")}
    assert table.pop("test_suite.py::test_it[True]").last_passed > "2026-11-01"
    assert list(table.values()) == old
    shared = pytest_in(tmp_path, "--long-share=3")
    assert shared.code == 0
    ran, by_hand = shared.out.split("Run by hand")
    assert "test_it[True]" in ran
    assert "test_it[False] (400 s, last passed 2026-01-01)" in by_hand
    assert "1 passed" in by_hand
    nothing = pytest_in(tmp_path, "--long-share=0.001")
    assert nothing.code == 4
    assert "no long test fits into 0.001 minutes" in nothing.err


def test_every_row_of_the_table_is_a_long_test() -> None:
    """A long test gets its row with `pytest -m long --record-long PATH::NAME`."""
    assert set(map(function_of, read_table(TABLE))) <= long_tests(TESTS)


def test_the_files_that_start_first_exist() -> None:
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []
