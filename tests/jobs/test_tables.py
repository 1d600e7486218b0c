"""Tables at 80 columns: figures and words stay whole, whatever the names are."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st
from judged_runs import random_world
from rich.table import Table

from jobs.commands import configs, diff, evaluate
from jobs.console.fitted import FittedTable
from jobs.console.tables import print_run, print_scores
from jobs.console.terminal import Terminal
from pipelines.evaluation.scores import Scores
from pipelines.runs.shards import totals

WIDTH = 80
INTERVAL = "0.936 (0.90 .. 0.97)"
CLASSES = ["cat", "construction worker with a helmet", "traffic_light_for_pedestrians_and_bikes"]
URI = "s3://bucket/collections/1911/letters/box-12/folder-7/letter_from_anna_to_paul_0001.tif"


def printed(table: Table, width: int = WIDTH) -> str:
    console = Terminal(width=width, record=True, force_terminal=False)
    with console.capture() as out:
        console.print(table)
    text = out.get()
    assert max(map(len, text.splitlines())) <= width
    return text


def whole(text: str, *parts: str) -> None:
    """Each part is in one line, as often as it was put in."""
    for part, count in Counter(parts).items():
        found = re.findall(rf"(?<!\S){re.escape(part)}(?!\S)", text)
        assert len(found) >= count, f"{part!r} {len(found)} of {count} times in\n{text}"


def test_a_table_that_fits_is_printed_as_it_is() -> None:
    table = FittedTable("class", "objects", above="title")
    table.add_row("cat", "12")
    assert printed(table).split("\n") == ["title", "class  objects", "cat         12", ""]


def test_figures_go_on_below_and_never_break() -> None:
    headings = ("labels", "AP", "AP@0.5", "precision", "recall", "F1")
    table = FittedTable("class", *headings)
    for name in CLASSES[:2]:
        table.add_row(name, "12,345", INTERVAL, INTERVAL, INTERVAL, INTERVAL, "0.912")
    text = printed(table)
    whole(text, *headings, *[INTERVAL] * 8, *["12,345", "0.912"] * 2, *CLASSES[1].split())
    assert len(re.findall(r"^class", text, re.MULTILINE)) > 1, "each part repeats the names"


def test_names_longer_than_the_room_stand_on_lines_of_their_own() -> None:
    table = FittedTable("worst pages", "outcome", "CER with blanks", "NED", "row")
    table.add_row(f"{URI} page 12", "native_text", "12.3 %", "3.1 %", "123456789")
    table.add_row("b.pdf page 1", "ocr", "2.0 %", "1.1 %", "3")
    text = printed(table)
    whole(text, "native_text", "12.3 %", "3.1 %", "123456789", "b.pdf page 1")
    assert URI in text.replace("\n", "")


def test_texts_wrap_between_words() -> None:
    words = [f"word{number}" for number in range(40)]
    table = FittedTable("stage", "reads", "busy s", texts=("reads",))
    table.add_row("page_fetcher", " ".join(words), "1,234.5")
    whole(printed(table), "page_fetcher", "1,234.5", *words)


@settings(deadline=None, max_examples=60)
@given(
    names=st.lists(st.text("abcdefgh_ ", min_size=1, max_size=60), min_size=1, max_size=4),
    widths=st.lists(st.integers(1, 24), min_size=1, max_size=9),
    width=st.integers(40, 120),
)
def test_no_figure_breaks_at_any_width(names: list[str], widths: list[int], width: int) -> None:
    figures = [str(number) * size for number, size in enumerate(widths, 1)]
    table = FittedTable("name", *(f"h{number}" for number in range(len(widths))))
    for name in names:
        table.add_row(name, *figures)
    whole(printed(table, width), *figures * len(names))


def console_of() -> Terminal:
    return Terminal(width=WIDTH, record=True, force_terminal=False)


def test_every_table_of_a_command_is_a_fitted_one() -> None:
    """`live` redraws one table in place, and `measure` has three short columns."""
    for path in sorted((REPOSITORY / "jobs").rglob("*.py")):
        if path.name not in ("fitted.py", "live.py", "measure.py"):
            assert not re.search(r"(?<![\w.])Table\(", path.read_text()), path


def test_evaluations_and_differences_of_labels_fit(tmp_path: Path) -> None:
    run, truth = random_world(tmp_path, 50, 1)
    console = console_of()
    evaluate.command(console, run.path, evaluate.Asked(str(truth), ["kind"]))
    text = console.export_text()
    tables = [line for line in text.splitlines() if ".." in line or "->" in line]
    assert tables
    whole_cell = r"\d\.\d{3} \(\d\.\d\d \.\. \d\.\d\d\)"
    assert all(line.count("..") == len(re.findall(whole_cell, line)) for line in tables)
    assert all(len(line) <= WIDTH for line in tables)
    console = console_of()
    diff.command(console, run.path, run.path, str(truth), None)
    assert "before \\ after" in console.export_text()


def test_the_summary_of_a_run_fits(tmp_path: Path) -> None:
    run, _ = random_world(tmp_path, 10, 1)
    steps = {"decode": 12.25, "forward": 1234.5, "select": 0.5, "encode_masks": 33.0}
    stage = {"rows": 10, "busy_s": 1280.2, "worker_deaths": 2, "seconds": steps}
    stages = {"page_fetcher": stage, "grounding_dino": stage}
    session = {"rows": 10, "seconds": 90, "rows_per_s": 0.1, "stages": stages, "write_s": 0.1}
    run.change_record(lambda record: record | {"sessions": [session]})
    console = console_of()
    print_run(console, run, "image", 10, totals(run))
    per_class = dict.fromkeys(CLASSES, 0.5)
    scores = Scores(10, 2, 31, 26, 0.5, 0.6, 0.4, 0.5, 0.7, 0.8, 0.9, per_class)
    print_scores(console, scores, URI)
    text = console.export_text()
    whole(text, "images by outcome", "precision", "0.500", "0.800", "1280.2", "encode_masks")


def test_the_stages_of_a_config_fit() -> None:
    console = console_of()
    configs.check(console, REPOSITORY / "configs/ocr_backfill/quickstart.yaml", [])
    text = console.export_text()
    stages = ("page_fetcher", "rapid_ocr", "batches", "worker")
    whole(text, *stages)
    assert max(map(len, text.splitlines())) <= WIDTH
