"""docs/extend.md shows the files of docs/examples; these run, and the other commands know the run.

The example's own tests run here too, by their names in this module: one Ray session for all.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from conftest import REPOSITORY

from pipelines.diff.runs import diff_runs
from pipelines.errors import ConfigError
from pipelines.evaluation.pages import evaluate_text
from pipelines.job import load_job
from pipelines.review import export_review
from pipelines.runs.directory import RunDir

PAGE = REPOSITORY / "docs" / "extend.md"
BLOCK = re.compile(r"^([^\n]*)\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TRUTH = REPOSITORY / "configs" / "samples" / "documents" / "truth"

sys.path.append(str(REPOSITORY / "docs" / "examples"))
example = importlib.import_module("test_photo_quality")
photos, finished = example.photos, example.finished
test_what_is_no_image_is_a_value_in_its_row = example.test_what_is_no_image_is_a_value_in_its_row
test_the_flow_in_this_process = example.test_the_flow_in_this_process
test_the_whole_job_through_ray = example.test_the_whole_job_through_ray


def test_every_test_of_the_example_runs_here() -> None:
    assert {name for name in vars(example) if name.startswith("test_")} <= set(globals())


def test_the_blocks_of_the_page_are_lines_of_the_files_that_they_name() -> None:
    shown = set()
    for above, language, block in BLOCK.findall(PAGE.read_text()):
        if language == "bash":
            continue
        name = above.strip("`")
        assert f"\n{block}" in (REPOSITORY / name).read_text(), (
            f"{name} has no such lines:\n{block}"
        )
        shown.add(Path(name).name)
    assert shown == {"photo_quality.py", "photo_quality.yaml", "test_photo_quality.py"}


def test_the_page_is_short() -> None:
    assert len(PAGE.read_text().splitlines()) < 200


def test_the_config_of_the_page_plans_its_flow() -> None:
    job, config = load_job(example.HERE / "photo_quality.yaml")
    assert [stage.name for stage in job.flow(config).stages] == ["page_fetcher", "sharpness"]


def test_the_record_says_what_measured(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert (record["job"], record["unit"]) == ("photo_quality", "image")
    assert record["config"]["job"] == "photo_quality:JOB"
    assert list(record["sessions"][0]["models"]["sharpness"]) == ["opencv"]


@pytest.fixture
def without_the_job(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module of the job cannot be imported, and is not."""
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not p.endswith("docs/examples")])
    monkeypatch.delitem(sys.modules, "photo_quality")
    yield
    assert "photo_quality" not in sys.modules


@pytest.mark.usefixtures("without_the_job")
def test_show_and_report_need_no_import_of_the_job(finished: Path, command) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("photo_quality")
    shown = command("show", finished)
    assert shown.code == 0, shown.err
    assert "3 of 3 images" in shown.out
    (blurred,) = [
        row["row_id"]
        for row in ds.dataset(finished / "shards").to_table().to_pylist()
        if row["outcome"] == "review"
    ]
    drawn = command("show", finished, "--row", str(blurred), "--image", "drawn.png")
    assert drawn.code == 0, drawn.err
    reported = command("report", finished, "--out", "report.html")
    assert reported.code == 0, reported.err
    assert "3 rows" in reported.out


def test_commands_that_need_labels_or_texts_say_so(finished: Path, tmp_path: Path, command) -> None:
    run = RunDir(finished)
    with pytest.raises(ConfigError, match="has neither labels nor texts"):
        export_review(run, tmp_path / "review")
    with pytest.raises(ConfigError, match="holds no readings"):
        diff_runs(run, run)
    with pytest.raises(ConfigError, match="holds no readings"):
        evaluate_text(run, str(TRUTH), (), None, 0)
    exported = command("export", finished, "out")
    assert (exported.code, "is a run of photo_quality" in exported.err) == (2, True)
