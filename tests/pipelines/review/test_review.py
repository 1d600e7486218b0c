"""The review queue: order of the export, import of answers, refusals."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hand_made_runs import (
    CLASSES,
    IMAGES,
    ONTOLOGY,
    PAGES,
    fill,
    items_of,
    label,
    page,
    picture,
    scan,
    stored,
    tiff,
    write_run,
)
from PIL import Image, ImageChops

from actors.failures import FailureKind, failure
from actors.ontology import Ontology
from pipelines.decisions.triage import TriageConfig
from pipelines.errors import ConfigError, RunNotFound
from pipelines.review import REVIEWED, export_review, import_review, reviewed_rows
from pipelines.review.gain import UNREAD_CHARACTERS, image_gain, page_gain
from pipelines.runs.directory import RunDir

#: Beyond the 53 bits of a JavaScript number, and negative as half of all row ids are.
WEAK, WORST, READ_TWICE = -(1 << 62) - 1, (1 << 62) + 3, 77
ACCEPTED, TORN, GONE = 5, 6, 7


def page_rows(folder: Path) -> list[dict[str, Any]]:
    """Six pages: three that wait, one accepted, one failed, one that waits and is gone by now."""
    failed = failure(FailureKind.CORRUPT_IMAGE, "torn")
    second = {
        "vlm_text": "MILK 3",
        "vlm_model": "small-vl",
        "vlm_failure": {"kind": "VLM_TRUNCATED", "message": ""},
    }
    torn = page(TORN, folder / "torn.jpg", None, 0, outcome="failed", fetch_failure=failed)
    gone = scan(folder / "gone.png", "GONE")
    rows = [
        page(WEAK, scan(folder / "ä weak.jpg", "TOTAL 12.00"), "TOTAL 12.00\nCASH", 0.8),
        page(ACCEPTED, scan(folder / "sure.png", "SURE"), "SURE", 0.99, outcome="ocr"),
        page(WORST, scan(folder / "worst.png", "INV0ICE"), "INVOICE " * 20, 0.5),
        torn | {"reasons": ["CORRUPT_IMAGE"]},
        page(READ_TWICE, scan(folder / "two.png", "MILK 3"), "MlLK 3", 0.7, **second),
        page(GONE, gone, "G0NE", 0.9),
    ]
    gone.unlink()
    return rows


@pytest.fixture
def pages(tmp_path: Path) -> RunDir:
    rows = page_rows(tmp_path / "pages")
    return write_run(tmp_path / "run", "ocr_backfill", PAGES, rows[:3], rows[3:])


STAR, HOUSE, EDGE, HINT = 0, 1, 2, 3  # places of the labels of DOUBTED
DOUBTED, CLEAN, BAND, UNLABELLED = 1, 2, 3, 4


@pytest.fixture
def images(tmp_path: Path) -> RunDir:
    folder = tmp_path / "images"
    weak = label("red star", (10, 10, 50, 50), score=0.55, reasons=["score_in_review_band"])
    labels = [
        label("red star", (10, 10, 50, 50)),
        label("green house", (60, 60, 100, 100), reasons=["low_mask_iou"]),
        label("blue star", (120, 0, 160, 40), reasons=["touches_border"]),
        label("red star", (5, 80, 25, 100), score=0.3, reasons=["below_threshold"]),
    ]
    rows = [
        stored(BAND, picture(folder / "band.jpg"), instances=[weak]),
        stored(CLEAN, picture(folder / "clean.jpg"), instances=labels[:1], outcome="accepted"),
        stored(DOUBTED, picture(folder / "doubted.jpg"), instances=labels),
        stored(UNLABELLED, picture(folder / "no.jpg"), instances=None, outcome="failed"),
    ]
    return write_run(tmp_path / "run", "autolabel", IMAGES, rows[:2], rows[2:])


def by_id(run: RunDir) -> dict[int, dict[str, Any]]:
    return {row["row_id"]: row for row in reviewed_rows(run).to_pylist()}


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


# ---------------------------------------------------------------- what an item is worth


def evidence(**changes: float | None) -> dict[str, float | None]:
    good = {"characters": 100, "mean_score": 0.9, "ink_covered": 1.0, "expected_cer": None}
    return good | changes


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (evidence(), 10.0),
        (evidence(expected_cer=0.25), 25.0),
        (evidence(expected_cer=float("nan")), 10.0),
        (evidence(ink_covered=0.5), 110.0),  # as much ink again as was read
        (evidence(ink_covered=0.0), 910.0),
        (evidence(text_outside=0.2, ink_covered=0.5), 35.0),  # 25 missing, and the ink is a logo's
        (evidence(text_outside=1.0), 910.0),
        (evidence(mean_score=None), 100.0),  # no score: nothing is known to be right
        (evidence(ink_covered=None), 10.0),
        (evidence(characters=0), UNREAD_CHARACTERS),
        (evidence(unread_script=0.9, expected_cer=0.01), UNREAD_CHARACTERS),
        (evidence(unread_ink=0.9), UNREAD_CHARACTERS),
        (evidence(unread_script=0.2, unread_ink=None), 10.0),
        (None, UNREAD_CHARACTERS),
    ],
)
def test_a_page_is_worth_the_characters_expected_to_be_wrong(given, wrong) -> None:
    assert page_gain(given, ["p10_score_below_floor"], None) == pytest.approx(wrong)


def test_a_run_from_before_calibration_has_no_expected_cer() -> None:
    old = {"characters": 100, "mean_score": 0.9, "ink_covered": 1.0}
    assert page_gain(old, [], None) == pytest.approx(10)


def test_blank_pages_and_pages_nobody_can_see_come_last() -> None:
    assert page_gain(evidence(characters=0), ["blank_page"], None) == 0
    assert page_gain(None, [], failure(FailureKind.OBJECT_MISSING, "")) == 0


def test_an_image_is_worth_its_doubtful_labels() -> None:
    ontology, rules = Ontology.model_validate(ONTOLOGY), TriageConfig(max_instances=2)

    def gain(*labels: dict[str, Any], reasons: tuple[str, ...] = ()) -> float:
        return image_gain(labels, reasons, None, ontology, rules)

    def scored(score: float | None, *reasons: str) -> dict[str, Any]:
        return {"class": "red star", "score": score, "reasons": list(reasons)}

    sure, hint = scored(0.9), scored(0.3, "below_threshold")
    assert gain(sure, hint) == 0
    assert gain(scored(0.5, "score_in_review_band")) == pytest.approx(1)
    assert gain(scored(0.58, "score_in_review_band")) == pytest.approx(0.2)
    assert gain(scored(0.58, "score_in_review_band", "no_mask"), scored(None, "no_score")) == 2
    assert gain(sure, sure, sure, hint, reasons=("too_many_boxes",)) == 1
    assert image_gain(None, ["ENGINE_FAULT"], None, ontology, rules) == 1
    assert image_gain(None, [], failure(FailureKind.EMPTY_FILE, ""), ontology, rules) == 0


# ---------------------------------------------------------------- out


def test_pages_are_written_with_picture_and_readings_most_gain_first(
    pages: RunDir, tmp_path: Path
) -> None:
    calls: list[tuple[int, int]] = []
    out = tmp_path / "out"
    summary = export_review(pages, out, on_items=lambda *count: calls.append(count))
    items = items_of(out)
    assert [int(item["row_id"]) for item in items] == [WORST, WEAK, READ_TWICE, GONE]
    assert [item["gain"] for item in items] == pytest.approx([80, 3, 1.8, 0.4])
    assert (summary.items, summary.images, dict(summary.missing)) == (4, 3, {"OBJECT_MISSING": 1})
    assert calls[-1] == (4, 4)
    weak = items[1]
    assert weak["row_id"] == str(WEAK)
    assert (weak["width"], weak["height"]) == (120, 60)
    assert (weak["job"], weak["outcome"], weak["page"]) == ("ocr_backfill", "review", 1)
    assert weak["reasons"] == ["mean_score_below_floor"]
    assert {weak["verdict"], weak["text"], weak["note"]} == {None}
    assert weak["readings"][0]["source"] == "rapid_ocr 3.10"
    assert [line["text"] for line in weak["readings"][0]["lines"]] == ["TOTAL 12.00", "CASH"]
    assert weak["readings"][0]["lines"][0]["score"] == 0.8
    drawn = Image.open(out / weak["image"])
    assert (drawn.format, drawn.size) == ("PNG", (120, 60))
    assert drawn.tobytes() == Image.open(weak["uri"]).tobytes()
    first, second = items[2]["readings"]
    assert (first["text"], second["text"]) == ("MlLK 3", "MILK 3")
    assert (second["source"], second["failure"]) == ("small-vl", "VLM_TRUNCATED")


def test_a_page_that_is_gone_keeps_its_item_and_says_why(pages: RunDir, tmp_path: Path) -> None:
    worst = Path(page_rows(tmp_path / "again")[2]["uri"])
    scan(tmp_path / "pages" / worst.name, "INV0ICE", size=(121, 60))
    export_review(pages, tmp_path / "out")
    items = {int(item["row_id"]): item for item in items_of(tmp_path / "out")}
    assert items[GONE]["image"] is None
    assert items[GONE]["image_failure"]["kind"] == "OBJECT_MISSING"
    assert items[GONE]["readings"][0]["text"] == "G0NE"
    assert items[WORST]["image"] is None
    assert items[WORST]["image_failure"]["kind"] == "OBJECT_CHANGED"
    assert "121 x 60 pixels; in the run it had 120 x 60" in items[WORST]["image_failure"]["message"]
    assert len(list((tmp_path / "out" / "images").iterdir())) == 2


def test_limit_takes_the_most_gain(pages: RunDir, tmp_path: Path) -> None:
    summary = export_review(pages, tmp_path / "out", limit=2)
    assert [int(item["row_id"]) for item in items_of(tmp_path / "out")] == [WORST, WEAK]
    assert summary.beyond == 2
    assert len(list((tmp_path / "out" / "images").iterdir())) == 2


def test_failed_rows_come_along_if_asked_for(pages: RunDir, tmp_path: Path) -> None:
    export_review(pages, tmp_path / "out", failed=True)
    last = items_of(tmp_path / "out")[-1]
    assert (int(last["row_id"]), last["outcome"], last["readings"]) == (TORN, "failed", [])


def test_each_page_of_a_document_gets_its_own_picture(tmp_path: Path) -> None:
    path = tiff(tmp_path / "doc.tiff", 40)
    rows = [
        page(1000 - n, path, f"PAGE {n}", 0.5, page=n, pages=40, kind="tiff", width=50, height=40)
        for n in range(1, 41)
    ]
    run = write_run(tmp_path / "run", "ocr_backfill", PAGES, rows)
    export_review(run, tmp_path / "out")
    items = items_of(tmp_path / "out")
    assert sorted(item["page"] for item in items) == list(range(1, 41))
    for item in items:
        assert Image.open(tmp_path / "out" / item["image"]).getpixel((20, 20)) == 5 * item["page"]


def test_a_run_from_before_the_fallback_has_one_reading(tmp_path: Path) -> None:
    schema = pa.schema([field for field in PAGES if not field.name.startswith("vlm")])
    rows = [page(1, scan(tmp_path / "a.png", "A"), "A", 0.5)]
    run = write_run(tmp_path / "run", "ocr_backfill", schema, rows)
    export_review(run, tmp_path / "out")
    (item,) = items_of(tmp_path / "out")
    assert [reading["text"] for reading in item["readings"]] == ["A"]
    fill(tmp_path / "out", {1: {"verdict": "accept"}})
    import_review(run, tmp_path / "out")
    assert by_id(run)[1]["text"] == "A"


def test_images_are_written_with_labels_and_candidates_apart(
    images: RunDir, tmp_path: Path
) -> None:
    export_review(images, tmp_path / "out", failed=True)
    items = items_of(tmp_path / "out")
    assert [int(item["row_id"]) for item in items] == [DOUBTED, UNLABELLED, BAND]
    assert [item["gain"] for item in items] == pytest.approx([2, 1, 0.5], abs=1e-3)
    doubted = items[0]
    assert [one["id"] for one in doubted["instances"]] == [STAR, HOUSE, EDGE]
    assert [one["id"] for one in doubted["candidates"]] == [HINT]
    assert doubted["instances"][HOUSE]["box"] == [60, 60, 100, 100]
    assert doubted["instances"][HOUSE]["mask"]["size"] == [120, 160]
    assert "text" not in doubted
    assert Image.open(tmp_path / "out" / doubted["image"]).size == (160, 120)


def test_export_appears_whole_or_not_at_all(pages: RunDir, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def stopped(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_review(pages, out, on_items=stopped)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]
    export_review(pages, out)
    assert sorted(path.name for path in out.iterdir()) == ["README.txt", "images", "items.jsonl"]
    assert len((out / "README.txt").read_text().splitlines()) == 11
    with pytest.raises(ConfigError, match="out exists already"):
        export_review(pages, out)
    with pytest.raises(RunNotFound):
        export_review(RunDir(tmp_path / "nothing"), tmp_path / "other")


def test_a_run_without_rows_gives_an_empty_folder(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "ocr_backfill", PAGES)
    assert export_review(run, tmp_path / "out").items == 0
    assert items_of(tmp_path / "out") == []


# ---------------------------------------------------------------- back


def test_verdicts_on_pages_become_text_that_is_true(pages: RunDir, tmp_path: Path) -> None:
    shards = digests(pages.shards)
    out = tmp_path / "out"
    export_review(pages, out, failed=True)
    fill(
        out,
        {
            WEAK: {"verdict": "accept"},
            WORST: {"verdict": "correct", "text": "INV0ICE\r\nÄ 20", "note": "smudged"},
            READ_TWICE: {"verdict": "accept", "text": "MILK 3\n"},
            TORN: {"verdict": "reject"},
        },
    )
    lines = (out / "items.jsonl").read_text().splitlines()
    (out / "items.jsonl").write_text("\n\n".join(reversed(lines)))
    summary = import_review(pages, out, "Ada")
    assert dict(summary.verdicts) == {"accept": 2, "correct": 1, "reject": 1}
    assert (summary.waiting, summary.new, summary.replaced) == (1, 4, 0)
    table = reviewed_rows(pages)
    assert table.schema.equals(REVIEWED)
    rows = by_id(pages)
    assert rows[WEAK]["text"] == "TOTAL 12.00\nCASH"
    assert (rows[WORST]["text"], rows[WORST]["note"]) == ("INV0ICE\nÄ 20", "smudged")
    assert rows[READ_TWICE]["text"] == "MILK 3"
    assert (rows[TORN]["text"], rows[TORN]["verdict"]) == (None, "reject")
    assert (rows[TORN]["outcome"], rows[WEAK]["outcome"]) == ("failed", "review")
    assert rows[WEAK]["uri"].endswith("ä weak.jpg")
    assert {row["reviewer"] for row in rows.values()} == {"Ada"}
    assert all(row["reviewed_at"].endswith("+00:00") for row in rows.values())
    assert GONE not in rows
    assert digests(pages.shards) == shards
    assert [p.name for p in (pages.path / "reviewed").iterdir()] == [summary.file.name]


def test_images_come_with_their_boxes_drawn(images: RunDir, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_review(images, out)
    items = {int(item["row_id"]): item for item in items_of(out)}
    assert items[BAND]["drawn"] == f"drawn/{BAND}.jpg"
    for row_id in (BAND, DOUBTED):
        plain = Image.open(out / items[row_id]["image"]).convert("RGB")
        drawn = Image.open(out / items[row_id]["drawn"])
        factor = drawn.width // plain.width
        assert drawn.size == (plain.width * factor, plain.height * factor)
        changed = ImageChops.difference(plain.resize(drawn.size), drawn)
        for one in items[row_id]["instances"]:
            x0, y0, x1, y1 = (round(part * factor) for part in one["box"])
            for x, y in ((x0 + 1, (y0 + y1) // 2), (x1 - 1, (y0 + y1) // 2), ((x0 + x1) // 2, y1)):
                assert max(changed.crop((x - 2, y - 2, x + 3, y + 3)).tobytes()) > 60, one
        for one in items[row_id]["candidates"]:  # not drawn
            x0, y0, x1, y1 = (round(part * factor) for part in one["box"])
            assert max(changed.crop((x0 - 2, y0 + 20, x0 + 3, y1 - 20)).tobytes()) < 30


def test_a_lost_picture_has_no_drawing(images: RunDir, tmp_path: Path) -> None:
    (tmp_path / "images" / "band.jpg").unlink()
    export_review(images, tmp_path / "out")
    items = {int(item["row_id"]): item for item in items_of(tmp_path / "out")}
    assert items[BAND]["drawn"] is None
    assert (tmp_path / "out" / items[DOUBTED]["drawn"]).exists()


def test_verdicts_on_images_become_labels_that_are_true(images: RunDir, tmp_path: Path) -> None:
    shards = digests(images.shards)
    out = tmp_path / "out"
    export_review(images, out, failed=True)
    doubted = items_of(out)[0]
    star, house, _ = doubted["instances"]
    (hint,) = doubted["candidates"]
    moved = house | {"box": [61.0, 58.0, 100.4, 120.3]}
    drawn = {"class": "red star", "box": [0, 0, 9.5, 9]}
    fill(
        out,
        {
            BAND: {"verdict": "accept"},
            DOUBTED: {
                "verdict": "correct",
                "instances": [star | {"class": "blue star"}, moved, hint, drawn],
            },
            UNLABELLED: {"verdict": "correct", "instances": []},
        },
    )
    import_review(images, out)
    rows = by_id(images)
    (accepted,) = rows[BAND]["instances"]
    assert (accepted["score"], accepted["reasons"]) == (pytest.approx(0.55), [])
    renamed, moved, promoted, new = rows[DOUBTED]["instances"]
    assert (renamed["class"], renamed["score"], renamed["prompt"]) == ("blue star", None, None)
    assert renamed["mask"] == star["mask"]
    assert moved["box"] == pytest.approx([61, 58, 100.4, 120])  # cut at the edge
    assert (moved["mask"], moved["mask_iou"], moved["source"]) == (None, None, "review")
    assert moved["score"] == pytest.approx(0.9)
    assert (promoted["score"], promoted["reasons"]) == (pytest.approx(0.3), [])
    assert promoted["mask"] == hint["mask"]
    assert (new["box"], new["score"], new["source"]) == ([0, 0, 9.5, 9], None, "review")
    assert rows[UNLABELLED]["instances"] == []
    assert rows[DOUBTED]["text"] is None
    assert digests(images.shards) == shards


def test_accepting_an_image_leaves_its_candidates_out(images: RunDir, tmp_path: Path) -> None:
    export_review(images, tmp_path / "out")
    fill(tmp_path / "out", {DOUBTED: {"verdict": "accept"}, BAND: {"verdict": "reject"}})
    import_review(images, tmp_path / "out")
    names = [one["class"] for one in by_id(images)[DOUBTED]["instances"]]
    assert names == ["red star", "green house", "blue star"]
    assert by_id(images)[BAND]["instances"] is None


def test_all_faults_of_pages_are_listed_and_nothing_is_written(
    pages: RunDir, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_review(pages, out, failed=True)
    items = {int(item["row_id"]): item for item in items_of(out)}
    other = items[WEAK] | {"readings": [{"source": "x", "text": "ANOTHER RUN"}]}
    lines = [
        json.dumps(items[WORST] | {"verdict": "accepted"}),
        json.dumps(items[READ_TWICE] | {"verdict": "accept", "text": "MILK 8"}),
        json.dumps(items[GONE] | {"verdict": "correct"}),
        json.dumps(items[TORN] | {"verdict": "accept"}),
        json.dumps(other | {"verdict": "accept"}),
        json.dumps(items[WEAK] | {"verdict": "reject"}),
        json.dumps({"row_id": "12345", "verdict": None}),
        json.dumps({"row_id": str(WORST), "text": "no verdict"}),
        '{"row_id": 77, "verdict": "accept", "verdict": null}',
        '{"row_id": 77, "verdict": ',
        "[" * 100_000,
        json.dumps({"row_id": 1 << 63, "verdict": None}),
        json.dumps({"row_id": str(ACCEPTED), "verdict": None, "text": "SURELY"}),
        json.dumps({"row_id": str(WORST), "verdict": "reject", "text": "x"}),
        '{"row_id": 8, "verdict": "correct", "text": "\\ud800"}',
    ]
    (out / "items.jsonl").write_text("\n".join(lines))
    with pytest.raises(ConfigError) as caught:
        import_review(pages, out)
    said = caught.value.message.splitlines()[1:]
    wanted = [
        (1, "verdict: must be 'accept', 'correct' or 'reject' (got 'accepted')"),
        (2, "accept, but the text is none of the readings"),
        (3, "correct, but no text"),
        (4, "accept, but there is no reading"),
        (5, "was it exported from another run?"),
        (6, f"row {WEAK} occurs twice in this file"),
        (7, "row 12345 is not in"),
        (8, "verdict: missing"),
        (9, "the key 'verdict' occurs twice"),
        (10, "not a JSON object"),
        (11, "not a JSON object"),
        (12, "row_id: must be below"),
        (13, "a text, but no verdict"),
        (14, "reject, but there is a text"),
        (15, "text: 'utf-8' codec can't encode"),
    ]
    assert len(said) == len(wanted), "\n".join(said)
    for line, (number, what) in zip(said, wanted, strict=True):
        assert line.startswith(f"  line {number}: "), line
        assert what in line
    assert not (pages.path / "reviewed").exists()


def test_all_faults_of_images_are_listed_and_nothing_is_written(
    images: RunDir, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_review(images, out, failed=True)
    star, house, edge = items_of(out)[0]["instances"]
    other = {"counts": "0", "size": [120, 160]}
    wrong = [
        star | {"class": "red stra"},
        house | {"box": [10, 10, 10, 50]},
        edge | {"box": [120, 0, 170, 40]},
        edge | {"id": 9},
        star | {"id": HINT, "mask": other},
        star,
    ]
    fill(
        out,
        {
            DOUBTED: {"verdict": "correct", "instances": wrong},
            BAND: {"verdict": "accept", "instances": []},
            UNLABELLED: {"verdict": "accept"},
        },
    )
    with pytest.raises(ConfigError) as caught:
        import_review(images, out)
    said = caught.value.message.splitlines()[1:]
    wanted = [
        (1, "instance 1: no class 'red stra'; did you mean 'red star'?"),
        (1, "instance 2: box [10.0, 10.0, 10.0, 50.0] has no area"),
        (1, "instance 3: box [120.0, 0.0, 170.0, 40.0] is outside the image of 160 x 120"),
        (1, "instance 4: the row has no label with id 9"),
        (1, "instance 5: the mask was changed"),
        (1, "instances: id 0 occurs twice"),
        (2, "accept, but the image was not labelled"),
        (3, "accept, but the instances were changed"),
    ]
    assert len(said) == len(wanted), "\n".join(said)
    for line, (number, what) in zip(said, wanted, strict=True):
        assert line.startswith(f"  line {number}: "), line
        assert what in line
    assert not (images.path / "reviewed").exists()


def test_a_second_import_of_the_same_answers_adds_nothing(pages: RunDir, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_review(pages, out)
    fill(out, {WEAK: {"verdict": "accept"}})
    first = import_review(pages, out, "Ada")
    before = reviewed_rows(pages)
    lines = (out / "items.jsonl").read_text().splitlines()
    (out / "items.jsonl").write_text("\n".join(reversed(lines)))
    again = import_review(pages, out, "Bob")
    assert (again.file, again.unchanged, again.new) == (None, 1, 0)
    assert [p.name for p in (pages.path / "reviewed").iterdir()] == [first.file.name]
    assert reviewed_rows(pages).equals(before)


def test_the_last_import_of_a_row_counts(pages: RunDir, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_review(pages, out)
    fill(out, {WEAK: {"verdict": "accept"}})
    import_review(pages, out, "Ada")
    ada = by_id(pages)[WEAK]
    fill(out, {WORST: {"verdict": "correct", "text": "A"}})
    import_review(pages, out, "Bob")
    assert by_id(pages)[WEAK] == ada, "an answer that stands keeps its time and its reviewer"
    for text in ("B", "A"):  # back to what it was: that is an answer too
        fill(out, {WORST: {"verdict": "correct", "text": text}})
        changed = import_review(pages, out)
        assert (changed.new, changed.replaced, changed.unchanged) == (0, 1, 1)
        assert by_id(pages)[WORST]["text"] == text
    assert reviewed_rows(pages).num_rows == 2


def test_an_answer_counts_on_a_clock_that_is_behind(pages: RunDir, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_review(pages, out)
    (pages.path / "reviewed").mkdir()
    ahead = {"row_id": WEAK, "verdict": "reject", "reviewed_at": "2999-01-01T00:00:00.000000+00:00"}
    table = pa.Table.from_pylist([ahead], REVIEWED)
    pq.write_table(table, pages.path / "reviewed" / "review-0.parquet")
    fill(out, {WEAK: {"verdict": "accept"}})
    import_review(pages, out)
    assert by_id(pages)[WEAK]["verdict"] == "accept"


def test_reviewed_rows_are_not_exported_again(pages: RunDir, tmp_path: Path) -> None:
    export_review(pages, tmp_path / "first", limit=1)
    fill(tmp_path / "first", {WORST: {"verdict": "reject"}})
    import_review(pages, tmp_path / "first")
    summary = export_review(pages, tmp_path / "second", limit=1)
    assert summary.reviewed == 1
    assert [int(item["row_id"]) for item in items_of(tmp_path / "second")] == [WEAK]
    export_review(pages, tmp_path / "third", limit=1, again=True)
    assert [int(item["row_id"]) for item in items_of(tmp_path / "third")] == [WORST]


def test_a_tool_may_round_boxes_and_add_keys(images: RunDir, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_review(images, out)
    (one,) = items_of(out)[1]["instances"]
    tool = one | {"box": [10.4, 9.6, 50, 50], "tool": "x", "score": "high"}
    fill(out, {BAND: {"verdict": "accept", "instances": [tool], "_task": 1}})
    import_review(images, out)
    (kept,) = by_id(images)[BAND]["instances"]
    assert kept["box"] == [10, 10, 50, 50]
    assert kept["class"] in CLASSES


def test_a_folder_that_is_none_is_named(pages: RunDir, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*items.jsonl: No such file"):
        import_review(pages, tmp_path)
