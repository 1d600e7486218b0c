"""How a config names its job: a built-in name or an import path."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import write_config

from pipelines.errors import ConfigError
from pipelines.job import MODULES, find_job, load_job


def test_built_in_jobs_go_by_their_names() -> None:
    assert [find_job(name).name for name in MODULES] == list(MODULES)


@pytest.mark.parametrize("path", ["doubles.three_readers_job", "doubles.three_readers_job:JOB"])
def test_a_job_of_ones_own_goes_by_its_import_path(path: str) -> None:
    assert find_job(path).name == "three_readers"


def test_a_module_at_the_top_needs_the_name_of_its_job(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "own_job.py").write_text("from doubles.three_readers_job import JOB as MINE\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_job("own_job:MINE").name == "three_readers"
    with pytest.raises(ConfigError, match=r"'own_job' is neither a built-in job \(ocr_backfill, a"):
        find_job("own_job")


@pytest.mark.parametrize(
    "name", [None, 3, ["autolabel"], "paint", "a..b", "own job:JOB", "a.b:", ":JOB", "a:b:c"]
)
def test_other_job_names_are_refused(name: object) -> None:
    with pytest.raises(
        ConfigError, match=r"built-in job \(ocr_backfill, autolabel\) nor an import"
    ):
        find_job(name)


@pytest.mark.parametrize(
    ("path", "missing"),
    [("no_such_folder.job", "no_such_folder"), ("doubles.no_job", "doubles.no_job")],
)
def test_a_module_that_is_not_there_is_named(path: str, missing: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no module {missing}$") as caught:
        find_job(path)
    assert "PYTHONPATH" in caught.value.remedy


def test_a_fault_inside_the_module_is_shown_with_its_line(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "faulty_job.py").write_text("import nothing_like_this\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="importing faulty_job failed") as caught:
        find_job("faulty_job:JOB")
    assert 'faulty_job.py", line 1' in caught.value.message
    assert "No module named 'nothing_like_this'" in caught.value.message


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("doubles.tiny_job", "doubles.tiny_job has no JOB that is a"),
        ("doubles.tiny_job:ROW", "doubles.tiny_job has no ROW that is a"),
    ],
)
def test_a_module_without_a_job_is_refused(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_job(path)


def test_the_config_of_such_a_job_is_checked_like_any(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"job: must be 'ocr_backfill'"):
        load_job(write_config(tmp_path, tmp_path, job="doubles.three_readers_job:JOB"))
