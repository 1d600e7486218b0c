"""All bad files of the corpus in one real run: each fails by name, and no row is lost."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from bad_files import BAD_FILES, TEXT, good_page, pdf_with_text
from conftest import Ended, in_this_process, nightjar_argv, write_config

CRASHING_PDF = "crashes on page 2.pdf"


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended, dict[str, str]]:
    """A folder per bad file; two files that change between plan and run; a page that crashes."""
    folder = tmp_path_factory.mktemp("night")
    source = folder / "source"
    names = {}
    for name, bad in BAD_FILES.items():
        (source / name).mkdir(parents=True)
        names[name] = str(bad.make(source / name))
    gone = good_page(source, name="gone.png")
    pdf_with_text(source, [f"This is page number {n}" for n in (1, 2, 3)], CRASHING_PDF)
    config = write_config(
        folder,
        source,
        fetch={
            "renderer": "doubles.crashes_on_page_2",
            "native_text": {"enabled": False},
            "max_bytes": 200 << 20,
        },
    )
    assert in_this_process(folder, "plan", config, "--sample", "0").code == 0
    gone.unlink()
    done = subprocess.run(
        nightjar_argv("run", config), capture_output=True, text=True, timeout=580, cwd=folder
    )
    return folder, Ended(done.returncode, done.stdout, done.stderr), names


@pytest.fixture(scope="module")
def rows(night) -> list[dict[str, Any]]:
    folder, ended, _ = night
    assert ended.code == 0, ended.err
    return ds.dataset(folder / "run" / "shards").to_table().to_pylist()


def of(rows: list[dict[str, Any]], path: str) -> list[dict[str, Any]]:
    """Rows of a file or, for an archive, of its members."""
    return [r for r in rows if r["uri"] == path or r["uri"].startswith(f"{path}!/")]


@pytest.mark.parametrize("name", BAD_FILES)
def test_each_bad_file_ends_by_its_name_and_each_odd_one_is_read(night, rows, name: str) -> None:
    ends = of(rows, night[2][name])
    assert ends, "no row: it vanished"
    if BAD_FILES[name].expected == "OK":
        for row in ends:
            assert row["fetch_failure"] is None
            assert TEXT.replace(" ", "") in (row["text"] or "").replace(" ", "")
    else:
        kinds = {(row["fetch_failure"] or {}).get("kind") for row in ends}
        assert BAD_FILES[name].expected.value in kinds
        assert {row["outcome"] for row in ends if row["fetch_failure"]} == {"failed"}


def test_a_file_deleted_between_plan_and_run_is_named(night, rows) -> None:
    (row,) = of(rows, str(night[0] / "source" / "gone.png"))
    assert row["reasons"] == ["OBJECT_MISSING"]


def test_a_page_that_kills_its_renderer_is_lost_alone(night, rows) -> None:
    pages = of(rows, str(night[0] / "source" / CRASHING_PDF))
    kinds = {r["page"]: (r["fetch_failure"] or {}).get("kind") for r in pages}
    assert kinds == {1: None, 2: "RENDER_CRASH", 3: None}


def test_rows_in_are_rows_out(night, rows) -> None:
    parts = sorted((night[0] / "run" / "manifest").glob("*.parquet"))
    listed = ds.dataset(parts).to_table()["row_id"].to_pylist()
    assert Counter(listed) == Counter(row["row_id"] for row in rows)


def test_nothing_climbed_out_of_its_archive(night) -> None:
    assert not list(night[0].parent.rglob("evil.png"))


def test_the_summary_counts_every_kind(night, rows) -> None:
    counted = json.loads((night[0] / "run" / "run.json").read_text())["totals"]["failures"]
    seen = Counter(r["fetch_failure"]["kind"] for r in rows if r["fetch_failure"])
    assert counted == seen
    assert all(kind in night[1].out for kind in seen)
