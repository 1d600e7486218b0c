"""`nightjar review` as a command, and the image of one row, which shares its fetching."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import Ended
from hand_made_runs import (
    IMAGES,
    PAGES,
    fill,
    items_of,
    label,
    page,
    picture,
    scan,
    stored,
    write_run,
)
from PIL import Image
from rich.console import Console

from jobs.commands.review import export, import_
from jobs.console.overlay import draw_row
from pipelines.errors import NightjarError
from pipelines.runs.directory import RunDir

Command = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    rows = [
        page(11, scan(tmp_path / "pages" / "a.png", "A1"), "Al", 0.6),
        page(12, scan(tmp_path / "pages" / "b.jpg", "B"), "B", 0.8),
        page(13, tmp_path / "pages" / "gone.png", "C", 0.9),
    ]
    return write_run(tmp_path / "run", "ocr_backfill", PAGES, rows)


def test_a_queue_goes_out_is_filled_and_comes_back(
    command: Command, run: RunDir, tmp_path: Path
) -> None:
    out = command("review", "export", "run", "queue")
    assert out.code == 0, out.err
    assert "3 items to review: queue" in out.out
    assert "OBJECT_MISSING" in out.out
    assert "nightjar review import run queue" in out.out
    folder = tmp_path / "queue"
    assert [int(item["row_id"]) for item in items_of(folder)] == [11, 12, 13]
    fill(folder, {11: {"verdict": "correct", "text": "A1"}, 12: {"verdict": "acept"}})
    refused = command("review", "import", "run", "queue")
    assert refused.code == 2
    assert "line 2: verdict: must be 'accept'" in refused.err
    assert "What to do" in refused.err
    fill(folder, {12: {"verdict": "accept"}})
    back = command("review", "import", "run", "queue", "--reviewer", "Ada")
    assert back.code == 0, back.err
    assert "2 of 3 items reviewed" in back.out
    (file,) = (tmp_path / "run" / "reviewed").iterdir()
    rows = pq.read_table(file).select(["row_id", "verdict", "text", "reviewer"]).to_pylist()
    assert [list(row.values()) for row in rows] == [
        [11, "correct", "A1", "Ada"],
        [12, "accept", "B", "Ada"],
    ]


def test_the_summary_says_what_is_left_and_what_stands(run: RunDir, tmp_path: Path) -> None:
    console = Console(record=True, width=120, force_terminal=False)
    export(console, run.path, tmp_path / "one", 1, failed=False, again=False)
    fill(tmp_path / "one", {11: {"verdict": "reject"}})
    import_(console, run.path, tmp_path / "one", None)
    import_(console, run.path, tmp_path / "one", None)
    export(console, run.path, tmp_path / "rest", None, failed=True, again=False)
    said = " ".join(console.export_text().split())
    assert "beyond --limit, left out 2" in said
    assert "new 1 replace an earlier answer 0 known already 0" in said
    assert "known already 1 nothing new; no file written" in said
    assert "2 items to review" in said
    assert "already reviewed, left out 1" in said


def test_a_terminal_gets_a_bar_with_rate(run: RunDir, tmp_path: Path) -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=120, force_terminal=True)
    export(console, run.path, tmp_path / "out", None, failed=False, again=False)
    assert "3/3" in shown.getvalue()
    assert "items/s, ETA 0 s" in shown.getvalue()


def test_a_row_is_drawn_from_its_page_fetched_again(run: RunDir, tmp_path: Path) -> None:
    rows = {row["row_id"]: row for row in pq.read_table(run.shard_files()[0]).to_pylist()}
    draw_row(run, rows[12], tmp_path / "drawn.png")
    drawn = Image.open(tmp_path / "drawn.png")
    assert (drawn.width, drawn.height > 60) == (120, True)
    with pytest.raises(NightjarError, match=r"gone.png page 1: OBJECT_MISSING"):
        draw_row(run, rows[13], tmp_path / "none.png")


def test_an_image_is_drawn_with_its_labels(tmp_path: Path) -> None:
    found = [label("red star", (10, 10, 50, 50))]
    row = stored(1, picture(tmp_path / "a.jpg"), instances=found)
    run = write_run(tmp_path / "run", "autolabel", IMAGES, [row])
    draw_row(run, row, tmp_path / "drawn.png")
    assert len(Image.open(tmp_path / "drawn.png").convert("RGB").getcolors(1 << 20) or ()) > 1
