"""Differences of two runs: all known changes are reported, and no others."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judged_runs import (
    BLUE,
    HOUSE,
    STAR,
    image,
    label,
    pages_run,
    random_world,
    review,
    rle,
    run_of,
    truth_of,
)
from labelled_runs import row_of as page_row

from pipelines.diff.labels import ChangeKind, diff_labels
from pipelines.diff.pages import diff_text
from pipelines.diff.pairs import pairs
from pipelines.diff.runs import DiffSummary, diff_runs
from pipelines.errors import ConfigError
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows

LEFT, RIGHT = (10.0, 10.0, 110.0, 110.0), (300.0, 10.0, 400.0, 110.0)
MOVED = (30.0, 10.0, 130.0, 110.0)  # IoU 2/3 with LEFT
AWAY = (90.0, 10.0, 190.0, 110.0)  # IoU 1/9


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ([label(STAR, LEFT)], [label(STAR, LEFT)], []),
        ([label(STAR, LEFT)], [label(STAR, LEFT, 0.86)], []),
        ([label(STAR, LEFT)], [label(STAR, LEFT, 0.8)], [("rescored",)]),
        ([label(STAR, LEFT)], [label(STAR, MOVED)], [("moved",)]),
        ([label(STAR, LEFT)], [label(STAR, AWAY)], [("gone",), ("new",)]),
        ([label(STAR, LEFT)], [label(BLUE, LEFT, 0.7)], [("relabelled",)]),
        ([label(STAR, LEFT)], [label(BLUE, MOVED)], [("relabelled", "moved")]),
        ([label(STAR, LEFT)], [label(STAR, LEFT, mask=rle(MOVED))], [("reshaped",)]),
        ([label(STAR, LEFT)], [label(STAR, LEFT, mask=None)], [("reshaped",)]),
        ([label(STAR, LEFT)], [], [("gone",)]),
        ([label(STAR, LEFT)], None, [("gone",)]),
        (None, [label(STAR, LEFT), label(BLUE, RIGHT)], [("new",), ("new",)]),
        ([label(STAR, LEFT, 0.3)], [], []),
        ([label(STAR, LEFT, None)], [label(STAR, LEFT, 0.9)], [("rescored",)]),
    ],
)
def test_every_change_of_a_label_is_named(
    before: Any, after: Any, kinds: list[tuple[str, ...]]
) -> None:
    found = diff_labels(before, after)
    assert [one.kinds for one in found.changes] == [tuple(map(ChangeKind, one)) for one in kinds]
    assert len(found.same) == (
        1 if before and after and not kinds and before[0]["reasons"] == [] else 0
    )


def test_labels_of_one_class_are_paired_before_nearer_ones_of_another() -> None:
    near = (12.0, 10.0, 112.0, 110.0)
    found = diff_labels(
        [label(STAR, LEFT), label(BLUE, near)], [label(BLUE, LEFT), label(STAR, near)]
    )
    assert found.changes == ()
    assert sorted(found.same) == sorted([STAR, BLUE])


def test_a_label_that_fell_below_its_threshold_says_so() -> None:
    (gone,) = diff_labels([label(STAR, LEFT, 0.6)], [label(STAR, MOVED, 0.4)]).changes
    assert (gone.kinds, gone.candidate) == ((ChangeKind.GONE,), 0.4)
    assert gone.as_dict() == {
        "kinds": ["gone"],
        "class": [STAR, None],
        "score": [0.6, None],
        "box": [list(LEFT), None],
        "candidate": 0.4,
    }
    (new,) = diff_labels([label(BLUE, LEFT, 0.4)], [label(STAR, LEFT)]).changes
    assert (new.kinds, new.candidate) == ((ChangeKind.NEW,), None), "another class"


def test_a_text_is_compared_by_character_and_by_line() -> None:
    assert diff_text("same", "same") is None
    assert diff_text(None, "") is None
    found = diff_text("TOTAL 12.50\nCASH", "TOTAL 12.5O\nCASH\nBYE")
    assert found is not None
    assert (found.characters, found.distance, found.folded) == ((16, 20), 5, 4)
    assert found.lines == ("@@ -1 +1 @@", "-TOTAL 12.50", "+TOTAL 12.5O", "@@ -2,0 +3 @@", "+BYE")
    spaced = diff_text("a b", "A  B")
    assert spaced is not None
    assert (spaced.distance, spaced.folded) == (3, 0)
    assert diff_text(None, "abc").distance == 3  # type: ignore[union-attr]
    long = diff_text("\n".join("abc"), "\n".join("xyzuvwrst"))
    assert long is not None
    assert len(long.lines) <= 13


def two_runs(folder: Path) -> tuple[RunDir, RunDir]:
    """Eight images before and after; what is changed is in their names."""
    star, blue = label(STAR, LEFT), label(BLUE, RIGHT)
    before = [
        image(1, "same.jpg", [star, blue]),
        image(2, "worse.jpg", [star, blue]),
        image(3, "worst.jpg", [star, blue]),
        image(4, "better.jpg", [label(STAR, AWAY)]),
        image(5, "still.jpg", [star]),
        image(6, "file.jpg", [star]),
        image(7, "before.jpg", [star]),
        image(8, "fails.jpg", []),
    ]
    after = [
        image(8, "fails.jpg", None),
        image(60, "file.jpg", [star], etag="v2"),
        image(9, "after.jpg", []),
        image(5, "still.jpg", [label(STAR, (12.0, 10.0, 118.0, 110.0))]),
        image(4, "better.jpg", [star]),
        image(3, "worst.jpg", [label(BLUE, LEFT)], outcome="review", reasons=["class_conflict"]),
        image(2, "worse.jpg", [star]),
        image(1, "same.jpg", [star, blue]),
    ]
    return run_of(folder / "a", before), run_of(folder / "b", after)


def test_two_runs_are_compared_row_by_row(tmp_path: Path) -> None:
    one, other = two_runs(tmp_path)
    found = diff_runs(one, other, out=tmp_path / "diff.jsonl")
    assert (found.both, found.only, found.changed, found.new_files) == (7, [1, 1], 5, 1)
    assert found.outcomes == {
        ("accepted", "accepted"): 5,
        ("accepted", "review"): 1,
        ("accepted", "failed"): 1,
    }
    assert found.labels == {
        ("same", STAR): 4,
        ("same", BLUE): 1,
        ("gone", BLUE): 2,
        ("gone", STAR): 1,
        ("new", STAR): 1,
        ("relabelled", STAR): 1,
    }
    assert found.relabelled == {(STAR, BLUE): 1}
    written = records(tmp_path / "diff.jsonl")
    assert [one["uri"] for one in written[:2]] == ["worst.jpg", "better.jpg"], "most changed first"
    assert [one.get("only_in") for one in written[-2:]] == ["a", "b"]
    assert {one["uri"] for one in written} == {
        *("worse.jpg", "worst.jpg", "better.jpg", "file.jpg", "before.jpg", "after.jpg"),
        "fails.jpg",
    }
    by_uri = {one["uri"]: one for one in written}
    assert by_uri["file.jpg"]["file"] == "changed"
    assert by_uri["file.jpg"]["row_id"] == ["6", "60"]
    assert by_uri["fails.jpg"]["outcome"] == ["accepted", "failed"]
    assert found.changes[0] == written[0]


def test_with_truth_regressions_come_first_and_the_worst_of_them_before(tmp_path: Path) -> None:
    one, other = two_runs(tmp_path)
    names = ("same", "worse", "worst", "better", "still", "file")
    both = [(STAR, LEFT), (BLUE, RIGHT)]
    objects = {f"{name}.jpg": both if n < 3 else both[:1] for n, name in enumerate(names)}
    truth = truth_of(tmp_path / "truth.json", objects)
    found = diff_runs(one, other, truth, tmp_path / "diff.jsonl")
    assert (found.judged, found.worse, found.better) == (6, 2, 1)
    assert found.truth[0] == {"right": 8, "wrong": 1, "missed": 1}
    assert found.truth[1] == {"right": 6, "wrong": 1, "missed": 3}
    assert [one["uri"] for one in found.regressions] == ["worst.jpg", "worse.jpg"]
    assert [one["uri"] for one in found.improvements] == ["better.jpg"]
    written = records(tmp_path / "diff.jsonl")
    assert [one["uri"] for one in written[:2]] == ["worst.jpg", "worse.jpg"]
    assert written[0]["truth"]["errors"] == [0, 3], "one under a wrong name is missed and invented"
    assert written[1]["truth"]["lost"] == [{"class": BLUE, "box": list(RIGHT)}]
    assert [one["uri"] for one in written[-3:-2]] == ["better.jpg"], "then those of one run only"


def test_a_run_and_itself_do_not_differ(tmp_path: Path) -> None:
    run, truth = random_world(tmp_path, 30, 5)
    found = diff_runs(run, run, truth, tmp_path / "diff.jsonl")
    assert (found.both, found.changed, found.only, found.worse) == (30, 0, [0, 0], 0)
    assert {kind for kind, _ in found.labels} == {"same"}
    assert found.truth[0] == found.truth[1]
    assert found.truth[0]["right"] > 20
    assert (tmp_path / "diff.jsonl").read_text() == ""
    assert found.settings == []


def test_classes_that_one_run_did_not_ask_for_are_not_held_against_it(tmp_path: Path) -> None:
    one = run_of(tmp_path / "a", [image(1, "a.jpg", [label(STAR, LEFT)])])
    other = run_of(tmp_path / "b", [image(1, "a.jpg", [label(STAR, LEFT)])])
    record = other.read_record()
    record["config"]["detector"]["ontology"] = {"classes": {STAR: {}, "bus": {}}}
    record["result_keys"] = {"detector.ontology.classes": {"bus": {"threshold": 0.4}}}
    other.write_record(record)
    truth = truth_of(tmp_path / "t.json", {"a.jpg": [(STAR, LEFT), (BLUE, RIGHT), (HOUSE, RIGHT)]})
    found = diff_runs(one, other, truth)
    assert (found.worse, found.better) == (0, 0)
    assert found.truth[0] == {"right": 1, "wrong": 0, "missed": 0}
    assert found.warnings == [f"classes of only one run are not compared: {BLUE}, {HOUSE}"]
    assert found.settings == ["detector.ontology.classes: 'bus' is new"]


def test_reviewed_rows_judge_both_runs(tmp_path: Path) -> None:
    one, other = two_runs(tmp_path)
    review(one, [(2, "accept", [label(STAR, LEFT), label(BLUE, RIGHT)]), (3, "reject", None)])
    found = diff_runs(one, other, "reviewed")
    assert (found.judged, found.worse) == (1, 1)
    assert diff_runs(one, other, one.path / "reviewed").regressions == found.regressions


def test_runs_over_other_files_are_not_compared(tmp_path: Path) -> None:
    one = run_of(tmp_path / "a", [image(1, "/x/a.jpg", [])])
    other = run_of(tmp_path / "b", [image(1, "/y/a.jpg", [])])
    with pytest.raises(
        ConfigError, match=r"no uri in common: one has /x/a.jpg, the other /y/a.jpg"
    ):
        diff_runs(one, other, out=tmp_path / "d.jsonl")
    assert not (tmp_path / "d.jsonl").exists()


def test_runs_of_two_jobs_are_not_compared(tmp_path: Path) -> None:
    one = run_of(tmp_path / "a", [image(1, "a.jpg", [])])
    with pytest.raises(ConfigError, match=r"autolabel, .* of ocr_backfill"):
        diff_runs(one, pages_run(tmp_path, [row_of(1, "a", [])], {}))


def row_of(row_id: int, name: str, lines: list[str], **changes: Any) -> Any:
    return page_row(row_id, name, [(text, 0.9) for text in lines], etag="v1", **changes)


UNREAD = {"outcome": "failed", "text": None, "lines": None, "text_source": None}


def test_texts_are_compared_with_and_without_truth(tmp_path: Path) -> None:
    true = ["alpha", "gamma"]
    for side in "ab":
        (tmp_path / side).mkdir()
    before = [row_of(n, name, true) for n, name in enumerate(("same", "worse", "worst", "spaced"))]
    before.append(row_of(5, "better", ["alpha", "gxxxa"]))
    after = [
        row_of(0, "same", true),
        row_of(1, "worse", ["alpha", "gamna"]),
        row_of(2, "worst", []) | UNREAD,
        row_of(3, "spaced", ["Alpha ", "gamma"]),
        row_of(5, "better", true),
    ]
    names = [Path(row["uri"]).stem for row in before]
    one = pages_run(tmp_path / "a", before, dict.fromkeys(names, true))
    other = pages_run(tmp_path / "b", after, {})
    found = diff_runs(one, other, tmp_path / "a" / "truth", tmp_path / "diff.jsonl")
    assert found.texts == {"same": 1, "changed": 4, "spacing": 1}
    assert found.characters == {"before": 55, "after": 45, "distance": 17}
    totals = [(counts["errors"], counts["characters"]) for counts in found.truth]
    assert totals == [(3, 50), (11, 50)]
    assert found.truth[0]["spaced_characters"] == 0, "the boxed truth has no blanks that count"
    written = records(tmp_path / "diff.jsonl")
    assert [Path(one["uri"]).stem for one in written] == ["worst", "worse", "spaced", "better"]
    assert written[0]["truth"] == {
        "errors": [0, 10],
        "characters": 10,
        "cer_without_blanks": [0, 1],
        "wer": [0, 1],
    }
    assert written[1]["text"]["diff"] == ["@@ -2 +2 @@", "-gamma", "+gamna"]
    plain = diff_runs(one, other)
    assert (plain.judged, plain.changed) == (0, 4)
    assert Path(plain.changes[0]["uri"]).stem == "worst"


def test_lost_blanks_and_a_wrong_order_are_regressions(tmp_path: Path) -> None:
    for side in "ab":
        (tmp_path / side).mkdir()
    right = ["Fare 2.40 No. 17", "paid in cash", "thank you"]
    names = ("glued", "shuffled", "same")
    before = [row_of(n, name, right) for n, name in enumerate(names)]
    after = [
        row_of(0, "glued", ["Fare 2.40No. 17", *right[1:]]),
        row_of(1, "shuffled", [right[1], right[0], right[2]]),
        row_of(2, "same", right),
    ]
    one, other = pages_run(tmp_path / "a", before, {}), pages_run(tmp_path / "b", after, {})
    for name in names:
        (tmp_path / "a" / "truth" / f"{name}.txt").write_text("\n".join(right))
    found = diff_runs(one, other, tmp_path / "a" / "truth", tmp_path / "diff.jsonl")
    assert (found.judged, found.worse, found.better) == (3, 2, 0)
    glued, shuffled = records(tmp_path / "diff.jsonl")[::-1]
    assert Path(glued["uri"]).stem == "glued"
    assert glued["truth"] == {
        "errors": [0, 1],
        "characters": 37,
        "cer_without_blanks": [0, 0],
        "cer_with_blanks": [0, 0.02703],
        "wer": [0, 0.22222],
        "ned": [0, 0.02564],
        "wrong_successors": [0, 0],
    }
    assert shuffled["truth"]["errors"] == [0, 0]
    assert shuffled["truth"]["wrong_successors"] == [0, 2]
    assert shuffled["truth"]["ned"][1] > 0.5
    counts = found.truth[1]
    assert (counts["spaced_errors"], counts["spaced_characters"]) == (1, 3 * 37)
    assert (counts["wrong_successors"], counts["successors"]) == (2, 6)


keys = st.tuples(
    st.sampled_from("abcdefgh"), st.integers(1, 2), st.sampled_from(["v1", "v2", None])
)
sides = st.lists(keys, max_size=14, unique=True)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(left=sides, right=sides, share=st.sampled_from([1, 5, 100]))
def test_every_row_is_joined_once_however_the_rows_are_dealt_out(
    tmp_path_factory: pytest.TempPathFactory, left: Any, right: Any, share: int
) -> None:
    folder = tmp_path_factory.mktemp("join")
    runs = []
    for side, rows in (("a", left), ("b", right)):
        made = [
            image(n, uri, None, page=page, etag=etag) for n, (uri, page, etag) in enumerate(rows)
        ]
        runs.append(run_of(folder / side, made))
    columns = ("uri", "page", "etag")
    found = list(pairs(runs[0], runs[1], (columns, columns), share_rows=share))
    for side, rows in ((0, left), (1, right)):
        seen = [tuple(pair[side].values()) for pair in found if pair[side] is not None]
        assert Counter(seen) == Counter(rows)
    both = [pair for pair in found if pair[0] and pair[1]]
    assert all(a["uri"] == b["uri"] and a["page"] == b["page"] for a, b in both if a and b)
    pages = [Counter((uri, page) for uri, page, _ in rows) for rows in (left, right)]
    assert len(both) == (pages[0] & pages[1]).total(), "as many pairs as there can be"
    same = sum(a["etag"] == b["etag"] for a, b in both if a and b)
    assert same == len(set(left) & set(right)), "equal versions go together"


def test_the_summary_is_the_same_in_one_share_and_in_many(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    one, _ = random_world(tmp_path / "x", 80, 1)
    other, truth = random_world(tmp_path / "y", 80, 2)
    columns = ("uri", "page", "etag", "instances")

    def joined(share: int) -> dict[Any, Any]:
        rows = pairs(one, other, (columns, columns), share_rows=share)
        return {(a or b)["uri"]: (a, b) for a, b in rows}  # type: ignore[index]

    assert joined(20) == joined(1000)
    assert len(joined(20)) == 80
    found: DiffSummary = diff_runs(one, other, truth)
    labels = sum(
        "below_threshold" not in label["reasons"]
        for batch in iter_rows(one, ("instances",))
        for row in batch.to_pylist()
        for label in row["instances"]
    )
    before = sum(n for (kind, _), n in found.labels.items() if kind in {"same", "gone"})
    assert before <= labels
    assert found.truth[1]["right"] > found.truth[0]["right"], "the truth is that of the second"
