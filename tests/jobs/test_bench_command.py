"""`nightjar bench` lists the benchmarks of the checkout, runs one, and names errors."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import nightjar_argv

from jobs.commands.bench import names


def ask(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(nightjar_argv("bench", *words), capture_output=True, text=True)


def test_it_lists_what_writes_a_report_with_its_last_result() -> None:
    listed = ask()
    assert listed.returncode == 0
    for name in ("ocr", "labelling", "calibration", "gate"):
        assert name in listed.stdout
    assert "full_size" not in listed.stdout  # makes models, measures nothing
    assert "2026-" in listed.stdout


def test_arguments_and_help_go_to_the_benchmark_itself() -> None:
    said = ask("gate", "--help")
    assert said.returncode == 0
    assert "Regression gate" in said.stdout
    assert ask("gate", "--no-such-option").returncode == 8


def test_a_name_that_is_none_lists_those_that_are() -> None:
    said = ask("orc")
    assert said.returncode == 2
    assert "no benchmark 'orc'" in said.stderr
    assert "labelling" in said.stderr


@pytest.mark.parametrize("text", ['"""No report."""\n', "x = 1\n"])
def test_scripts_that_write_no_report_are_not_listed(tmp_path: Path, text: str) -> None:
    (tmp_path / "helper.py").write_text(text)
    assert names(tmp_path) == {}
