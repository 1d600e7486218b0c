"""Run directories of version 2026-11-30, written before the modules moved.

`tests/resources/old_runs/pages` is the OCR quickstart in four waves, two of them without shards, as
if it had been killed; `labels` is the whole labelling quickstart. Their records call the renderer
`pipelines.render`, a module that is gone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY, Ended, in_this_process

from pipelines.storage.walk import etag_of

OLD = Path(__file__).parents[1] / "resources" / "old_runs"
_THEN = "/tmp/old/"  # where the repository lay


def _as_if_planned_here(run: Path, folder: Path) -> None:
    """Paths below `folder`, and the versions that the files have here."""
    for path in [*run.glob("manifest/*.parquet"), *run.glob("shards/*.parquet")]:
        table = pq.read_table(path)
        uris = [uri.replace(_THEN, f"{folder}/") for uri in table["uri"].to_pylist()]
        etags = [etag_of(Path(uri.split("!/")[0]).stat()) for uri in uris]
        for name, values in (("uri", uris), ("etag", etags)):
            place = table.schema.get_field_index(name)
            table = table.set_column(place, table.schema.field(name), [pa.array(values)])
        pq.write_table(table, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with both runs and the configs, as the quickstarts need it."""
    folder = tmp_path_factory.mktemp("old")
    (folder / "configs").symlink_to(REPOSITORY / "configs")
    for name in ("pages", "labels"):
        shutil.copytree(OLD / name, folder / "runs" / f"old_{name}")
        _as_if_planned_here(folder / "runs" / f"old_{name}", folder)
    return folder


@pytest.fixture
def command(folder: Path) -> Callable[..., Ended]:
    def run(*arguments: str) -> Ended:
        done = in_this_process(folder, *arguments)
        assert done.code == 0, done.err
        return done

    return run


def test_a_run_with_other_columns_is_not_continued(folder: Path) -> None:
    """Its shards and new ones could not be read together."""
    settings = ("--set", "run_dir=runs/old_pages", "--set", "ray.rows_per_wave=6")
    refused = in_this_process(folder, "run", "configs/ocr_backfill/quickstart.yaml", *settings)
    assert refused.code == 5
    assert "rows of another version, with other columns" in refused.err
    assert "new: notes, pixel_range, rotation, script" in refused.err
    assert "changed: evidence, lines" in refused.err
    assert "--new" in refused.err


def test_a_run_that_is_done_stays_done(folder: Path) -> None:
    """All rows of the labelling run are there, so that nothing is written to its columns."""
    settings = ("--set", "run_dir=runs/old_labels")
    done = in_this_process(folder, "run", "configs/autolabel/quickstart.yaml", *settings)
    assert done.code == 0, done.err
    assert "Everything is done" in done.out + done.err


@pytest.mark.parametrize("name", ["pages", "labels"])
def test_it_is_reported_and_shown(name: str, command, folder: Path) -> None:
    command("report", f"runs/old_{name}", "--samples", "8")
    page = (folder / f"runs/old_{name}/report.html").read_text()
    assert page.count("data:image/webp") >= 5  # pictures are fetched again by the old settings
    done = {"pages": "12 of 19", "labels": "19 of 19"}[name]
    assert done in command("show", f"runs/old_{name}").out


@pytest.mark.parametrize("name", ["pages", "labels"])
def test_its_queue_goes_out_with_pictures(name: str, command, folder: Path) -> None:
    command("review", "export", f"runs/old_{name}", f"queue_{name}")
    items = (folder / f"queue_{name}/items.jsonl").read_text().splitlines()
    pictures = list((folder / f"queue_{name}/images").iterdir())
    assert len(items) >= len(pictures) >= 1


def test_it_is_exported(command, folder: Path) -> None:
    command("export", "runs/old_pages", "text", "--format", "text")
    assert "Fernsby Archive" in (folder / "text/annual_report.pdf.txt").read_text()
    command("export", "runs/old_pages", "pdf", "--format", "pdf")
    assert (folder / "pdf/receipt_cafe.jpg.pdf").read_bytes().startswith(b"%PDF")
    command("export", "runs/old_labels", "coco", "--all")
    (coco,) = (folder / "coco").rglob("*.json")
    assert len(json.loads(coco.read_text())["images"]) >= 15


def test_a_changed_config_is_refused_for_the_columns_first(folder: Path) -> None:
    refused = in_this_process(
        folder,
        *("run", "configs/autolabel/quickstart.yaml", "--set", "run_dir=runs/old_labels"),
        *("--set", "detector.min_score=0.1"),
    )
    assert refused.code == 5
    assert "new: pixel_range" in refused.err  # restoring the old value would not help
    assert "renderer" not in refused.err
