"""`nightjar evaluate` and `nightjar diff` as commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, Ended
from judged_runs import BLUE, STAR, image, label, pages_run, random_world, run_of, truth_of
from labelled_runs import labelled_run, row_of
from PIL import Image
from rich.console import Console

from jobs.commands import diff, evaluate
from pipelines.errors import ConfigError

Command = Callable[..., Ended]
LEFT, RIGHT = (10.0, 10.0, 110.0, 110.0), (300.0, 10.0, 400.0, 110.0)


def said(console: Console) -> str:
    return " ".join(console.export_text().split())


def test_labels_are_evaluated_and_compared(command: Command, tmp_path: Path) -> None:
    random_world(tmp_path, 50, 1)
    done = command("evaluate", "run", "--truth", "truth.json", "--slice", "kind")
    assert done.code == 0, done.err
    for words in ("50 images", "boxes", "small", "masks", "by kind", "jpeg", "fewer than 30"):
        assert words in done.out
    assert "thresholds with the best F1, chosen on 25 images, measured on the other 25" in done.out
    folder = tmp_path / "run" / "evaluation"
    written = json.loads((folder / "evaluation.json").read_text())
    assert (written["version"], written["job"], written["images"]) == (2, "autolabel", 50)
    assert 0 < written["whole"]["ap"]["ap"]["value"] < 1
    assert set(written["curves"]) == set(written["classes"])
    for name in ("pr_curves.png", "confusion.png", "slices.png"):
        assert min(Image.open(folder / name).size) > 200
    compared = command("diff", "run", "run", "--truth", "truth.json", "--out", "out/diff.jsonl")
    assert compared.code == 0, compared.err
    assert "0 images differ" in compared.out
    assert (tmp_path / "out" / "diff.jsonl").read_bytes() == b""


def test_a_missing_truth_is_called_missing(command: Command, tmp_path: Path) -> None:
    random_world(tmp_path, 3, 1)
    for words in (["evaluate", "run"], ["calibrate", "run"], ["diff", "run", "run"]):
        done = command(*words, "--truth", "nowhere.json")
        assert done.code == 2, done.err
        assert "there is no truth at nowhere.json: the file is missing" in done.err
        assert "What to do" in done.err
    config = REPOSITORY / "configs/autolabel/quickstart.yaml"
    (tmp_path / "images").mkdir()
    keys = [f"source.path={tmp_path / 'images'}", "run_dir=new", "truth=nowhere.json"]
    done = command("plan", config, *(word for key in keys for word in ("--set", key)))
    assert done.code == 2, done.err
    assert "there is no truth at nowhere.json: the file is missing" in done.err


def test_a_column_that_is_not_there_is_named_before_anything_is_written(tmp_path: Path) -> None:
    run, truth = random_world(tmp_path, 3, 1)
    with pytest.raises(ConfigError, match="no column 'kin'") as error:
        evaluate.command(Console(), run.path, evaluate.Asked(str(truth), ["kin"]))
    assert "did you mean 'kind'" in error.value.remedy
    assert not (run.path / "evaluation").exists()


def test_texts_are_evaluated(tmp_path: Path) -> None:
    run = labelled_run(tmp_path, 12)
    console = Console(record=True, width=200, force_terminal=False)
    asked = evaluate.Asked(str(tmp_path / "truth"), ["image_size"], out=tmp_path / "out")
    evaluate.command(console, run.path, asked)
    words = said(console)
    assert "12 pages" in words
    assert "by outcome" in words
    assert "by image_size" in words
    assert "worst pages" in words
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert written["whole"]["pages"] == 12
    cers = written["page_cers_without_blanks"]
    assert cers == sorted(cers)
    assert "† the truth of 12 pages has unreliable blanks" in words
    assert "in reading order" not in words, "SROIE lines have none"
    for name in ("pages.png", "slices.png"):
        pixels = np.asarray(Image.open(tmp_path / "out" / name).convert("L"))
        assert pixels.std() > 5, "something is drawn"
    assert not (tmp_path / "out" / "pr_curves.png").exists()


def test_every_table_of_texts_says_what_counts_in_it(tmp_path: Path) -> None:
    run = labelled_run(tmp_path, 12)
    (tmp_path / "truth" / "truth.yaml").write_text("blanks: true\norder: true\n")
    console = Console(record=True, width=120, force_terminal=False)
    evaluate.command(console, run.path, evaluate.Asked(str(tmp_path / "truth")))
    printed = console.export_text()
    heads = [line for line in printed.splitlines() if "CER without" in line and "pages" in line]
    assert [line.split("  ")[0] for line in heads] == [
        "in any order",
        "by outcome",
        "in reading order",
        "by outcome in order",
        "worst pages",
    ]
    assert all("CER with blanks" in line or "NED" in line for line in heads)
    assert "†" not in printed
    tables = [line for line in printed.splitlines() if line.count("%") > 1]
    assert len(tables) == 15
    assert max(map(len, tables)) <= 120
    written = json.loads((run.path / "evaluation" / "evaluation.json").read_text())
    assert set(written["legend"]) <= {*written, *written["whole"], *written["whole"]["in_order"]}


def test_names_with_brackets_are_names(tmp_path: Path) -> None:
    run = pages_run(tmp_path, [row_of(1, "a[red]", [("x", 0.9)])], {"a[red]": ["alpha"]})
    console = Console(record=True, width=200, force_terminal=False)
    evaluate.command(console, run.path, evaluate.Asked(str(tmp_path / "truth")))
    assert "/scans/a[red].jpg page 1" in said(console)


def test_a_difference_is_told_with_its_reason(tmp_path: Path) -> None:
    both = [label(STAR, LEFT), label(BLUE, RIGHT)]
    before = [image(1, "a.jpg", both), image(2, "b.jpg", both), image(3, "c.jpg", both)]
    after = [
        image(1, "a.jpg", [label(BLUE, LEFT)], outcome="review"),
        image(20, "b.jpg", both, etag="v2"),
        image(4, "d.jpg", both),
    ]
    one, other = run_of(tmp_path / "a", before), run_of(tmp_path / "b", after)
    truth = truth_of(tmp_path / "truth.json", {"a.jpg": [(STAR, LEFT), (BLUE, RIGHT)]})
    console = Console(record=True, width=200, force_terminal=False)
    diff.command(console, one.path, other.path, str(truth), None)
    words = said(console)
    for expected in (
        "2 images in both",
        "1 images in the first run only",
        "1 images of files that changed between the runs",
        "1 images, 1 worse, 0 better",
        f"relabelled: 1 {STAR} -> {BLUE}",
        f"a.jpg accepted -> review 0 -> 3 relabelled {STAR} -> {BLUE}; gone {BLUE}",
    ):
        assert expected in words


def test_changed_texts_are_shown_as_a_short_diff(tmp_path: Path) -> None:
    runs = []
    for side, text in (("a", "gamma"), ("b", "gamna")):
        (tmp_path / side).mkdir()
        lines = [("alpha", 0.9), (text, 0.9)]
        runs.append(pages_run(tmp_path / side, [row_of(1, "x", lines)], {}))
    console = Console(record=True, width=200, force_terminal=False)
    diff.command(console, runs[0].path, runs[1].path, None, tmp_path / "d.jsonl")
    words = said(console)
    assert "1 pages without an etag" in words
    assert "1 characters -gamma +gamna" in words
    assert json.loads((tmp_path / "d.jsonl").read_text())["text"]["distance"] == 1
    with pytest.raises(ConfigError, match="is a directory"):
        diff.command(console, runs[0].path, runs[1].path, None, tmp_path)


def test_rates_of_texts_are_shown_before_and_after(tmp_path: Path) -> None:
    runs = []
    for side, text in (("a", "Fare 2.40 No. 17"), ("b", "Fare 2.40No. 17")):
        (tmp_path / side).mkdir()
        lines = [(text, 0.9), ("paid", 0.9)]
        runs.append(pages_run(tmp_path / side, [row_of(1, "x", lines)], {}))
    (tmp_path / "a" / "truth" / "x.txt").write_text("Fare 2.40 No. 17\npaid\n")
    console = Console(record=True, width=120, force_terminal=False)
    diff.command(console, runs[0].path, runs[1].path, str(tmp_path / "a" / "truth"), None)
    words = said(console)
    assert "CER with blanks CER without WER NED in order wrong successors" in words
    assert "before 0.00 % 0.00 % 0.00 % 0.00 % 0.00 %" in words
    assert "after 5.00 % 0.00 % 40.00 % 4.76 % 0.00 %" in words
    assert "a run of white space counts as one blank" in words
