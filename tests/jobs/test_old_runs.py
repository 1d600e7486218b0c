"""Run directories of version 2026-11-30, written before the modules moved.

`tests/resources/old_runs/pages` is the OCR quickstart in four waves, two of them without shards, as
if it had been killed; `labels` is the whole labelling quickstart. Their records call the renderer
`pipelines.render`, a module that is gone.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY, Ended, in_this_process, nightjar_argv

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


@pytest.fixture(scope="module")
def continued(folder: Path) -> Ended:
    """The killed run, started again by this version."""
    settings = ("--set", "run_dir=runs/old_pages", "--set", "ray.rows_per_wave=6")
    argv = nightjar_argv("run", "configs/ocr_backfill/quickstart.yaml", *settings)
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def test_it_goes_on_where_it_was_killed(continued: Ended, folder: Path) -> None:
    record = json.loads((folder / "runs/old_pages/run.json").read_text())
    assert [session["rows"] for session in record["sessions"]] == [19, 7]
    assert record["totals"]["rows"] == 19
    assert record["totals"]["outcomes"] == {"native_text": 2, "ocr": 13, "review": 2, "failed": 2}


def test_its_new_rows_look_like_the_old_ones(continued: Ended, folder: Path) -> None:
    shards = sorted((folder / "runs/old_pages/shards").glob("*.parquet"))
    assert len({str(pq.read_schema(path)) for path in shards}) == 1


@pytest.mark.parametrize("name", ["pages", "labels"])
def test_it_is_reported_and_shown(name: str, command, continued: Ended, folder: Path) -> None:
    command("report", f"runs/old_{name}", "--samples", "8")
    page = (folder / f"runs/old_{name}/report.html").read_text()
    assert page.count("data:image/webp") >= 5  # pictures are fetched again by the old settings
    assert "19 of 19" in command("show", f"runs/old_{name}").out


@pytest.mark.parametrize("name", ["pages", "labels"])
def test_its_queue_goes_out_with_pictures(
    name: str, command, continued: Ended, folder: Path
) -> None:
    command("review", "export", f"runs/old_{name}", f"queue_{name}")
    items = (folder / f"queue_{name}/items.jsonl").read_text().splitlines()
    pictures = list((folder / f"queue_{name}/images").iterdir())
    assert len(items) >= len(pictures) >= 2


def test_it_is_exported(command, continued: Ended, folder: Path) -> None:
    command("export", "runs/old_pages", "text", "--format", "text")
    assert "Fernsby Archive" in (folder / "text/annual_report.pdf.txt").read_text()
    command("export", "runs/old_pages", "pdf", "--format", "pdf")
    assert (folder / "pdf/letter_donation.png.pdf").read_bytes().startswith(b"%PDF")
    command("export", "runs/old_labels", "coco", "--all")
    (coco,) = (folder / "coco").rglob("*.json")
    assert len(json.loads(coco.read_text())["images"]) >= 15


def test_a_changed_config_is_refused_without_naming_the_renderer(folder: Path) -> None:
    refused = in_this_process(
        folder,
        *("run", "configs/ocr_backfill/quickstart.yaml", "--set", "run_dir=runs/old_pages"),
        *("--set", "fetch.dpi=100"),
    )
    assert refused.code == 5
    assert "fetch.dpi" in refused.err
    assert "renderer" not in refused.err
