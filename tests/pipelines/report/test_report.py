"""The report: its numbers are those of the shards, nothing of a run becomes markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hand_made_runs import IMAGES, PAGES, label, page, picture, scan, stored, write_run
from html_tree import Node, parsed
from reported_runs import images_run, pages_run, rows_of

from actors.failures import FailureKind, failure
from pipelines.errors import OutputUnwritable, RunNotFound
from pipelines.report.write import Limits, write_report
from pipelines.runs.directory import RunDir

HOSTILE = "<script>window.pwned=1</script>'\"&<img src=x onerror=alert(1)>{{ 7*7 }}</style>-->"


def report(run: RunDir, **limits: Any) -> Node:
    return parsed(write_report(run, limits=Limits(**limits)).path)


def section(page: Node, name: str) -> Node:
    return page.one("section", id=name)


def counts(page: Node, caption: str) -> dict[str, list[str]]:
    """First cell -> the others, of the table with this caption."""
    (table,) = [t for t in page.all("table") if t.all("caption")[0].text == caption]
    return {_bare(table, name): cells for name, *cells in table.table()}


def _bare(table: Node, name: str) -> str:
    """The name without the mark of its outcome, and without what is written small beside it."""
    small = [node.text for node in table.all("small")]
    for words in small:
        name = name.removesuffix(words)
    return name.strip("?\u2713\u2715\u25cb ")


def cards(page: Node) -> list[Node]:
    return page.all("li", "card")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, Node]:
    run = images_run(tmp_path_factory.mktemp("images"), 700, shards=3)
    return run, report(run)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, Node]:
    run = pages_run(tmp_path_factory.mktemp("pages"), 120)
    return run, report(run)


def test_outcomes_are_those_of_the_shards(images, pages) -> None:
    for run, html in (images, pages):
        truth = Counter(row["outcome"] for row in rows_of(run))
        unit = "images" if html is images[1] else "pages"
        shown = counts(html, f"{unit} by outcome")
        assert {name: int(cells[0]) for name, cells in shown.items()} == truth
        assert shown["review"][1] == f"{100 * truth['review'] / truth.total():.1f} %"


def test_reasons_and_failures_are_those_of_the_shards(images) -> None:
    run, html = images
    rows = rows_of(run)
    truth = Counter(reason for row in rows for reason in row["reasons"])
    shown = counts(html, "images by reason (a row can have several)")
    assert {name: int(cells[0]) for name, cells in shown.items()} == truth
    kinds = {
        node.all("b")[0].text: int(node.all("span", "count")[0].text)
        for node in html.all("details", "failure")
    }
    assert kinds == {"CORRUPT_IMAGE": truth["CORRUPT_IMAGE"]}
    examples = html.one("section", id="failures").all("li")
    assert 1 <= len(examples) <= 5
    assert all("is torn" in one.text for one in examples)


def test_labels_of_a_class_are_those_of_the_shards(images) -> None:
    run, html = images
    labels = [label for row in rows_of(run) for label in row["instances"] or ()]
    kept = [one for one in labels if "below_threshold" not in one["reasons"]]
    shown = counts(html, "Labels by class")
    assert {name: int(cells[0]) for name, cells in shown.items()} == Counter(
        one["class"] for one in kept
    )
    doubtful = Counter(one["class"] for one in kept if one["reasons"])
    assert {name: int(cells[1]) for name, cells in shown.items()} == doubtful
    candidates = Counter(one["class"] for one in labels if one not in kept)
    assert {n: int(c[3]) for n, c in shown.items() if c[3] != "0"} == candidates


def test_histograms_hold_every_score_once(images, pages) -> None:
    labels = [one for row in rows_of(images[0]) for one in row["instances"] or ()]
    for name, total in Counter(one["class"] for one in labels).items():
        table = counts(images[1], name)
        assert sum(int(n) for cells in table.values() for n in cells) == total
    lines = [line["score"] for row in rows_of(pages[0]) for line in row["lines"]]
    table = counts(pages[1], "Line scores")
    assert sum(int(n.replace(",", "")) for cells in table.values() for n in cells) == len(lines)
    above = sum(int(n) for n in table["0.90 to 0.92"])
    assert above == sum(0.90 - 1e-6 <= score < 0.92 - 1e-6 for score in lines)


def test_the_gallery_has_every_outcome_reason_and_class(images) -> None:
    _, html = images
    found = cards(html)
    assert len(found) == 200
    places = {
        key: {one for card in found for one in card.attributes[f"data-{key}"].split()}
        for key in "ocr"
    }
    for key in "ocr":
        (select,) = [s for s in html.all("select") if s.attributes["name"] == key]
        options = {o.attributes["value"]: o.text for o in select.all("option")}
        assert options.pop("") == "all"
        assert set(options) == places[key]
    rare = [one for one in found if "touches_border" in one.text]
    assert len(rare) == 1, "one row of 700 has this reason, and it is in the sample"
    assert "green house" in rare[0].text


def test_a_small_run_is_shown_whole(tmp_path: Path) -> None:
    run = images_run(tmp_path, 30, shards=4)
    shown = {one.all("code")[0].text.split()[-1] for one in cards(report(run))}
    assert shown == {str(row["row_id"]) for row in rows_of(run)}


def test_labels_are_drawn_where_they_are(tmp_path: Path) -> None:
    box = (30, 40, 120, 110)
    row = stored(1, picture(tmp_path / "a.jpg"), instances=[label("red star", box)])
    (card,) = cards(report(write_run(tmp_path / "run", "autolabel", IMAGES, [row])))
    (drawing,) = card.all("svg", "over")
    assert drawing.attributes["viewbox"] == "0 0 160 120"
    (rect,) = drawing.all("rect")
    assert [float(rect.attributes[k]) for k in ("x", "y", "width", "height")] == [30, 40, 90, 70]
    corners = re.findall(r"[\d.]+", drawing.all("path", "mask")[0].attributes["d"])
    xs, ys = [float(n) for n in corners[::2]], [float(n) for n in corners[1::2]]
    assert (min(xs), max(xs)) == pytest.approx((30, 120), abs=1)
    assert (min(ys), max(ys)) == pytest.approx((40, 110), abs=1)


def test_lines_are_drawn_in_their_band_with_their_text(tmp_path: Path) -> None:
    row = page(1, scan(tmp_path / "a.png", "x"), "weak\nsure", 0.99)
    row["lines"][0]["score"] = 0.5
    (card,) = cards(report(write_run(tmp_path / "run", "ocr_backfill", PAGES, [row])))
    groups = card.all("g", "line")
    assert [one.classes[1] for one in groups] == ["b0", "b4"]
    assert groups[0].text == "0.50 weak"
    assert "lowest score 0.50" in card.text


def test_nothing_of_a_run_becomes_markup(tmp_path: Path) -> None:
    fault = failure(FailureKind.ENGINE_FAULT, f"Traceback {HOSTILE}")
    torn = label("red star", (0, 0, 50, 50), reasons=[HOSTILE]) | {"class": HOSTILE}
    rows = [
        stored(1, tmp_path / HOSTILE / f"{HOSTILE}.png", instances=[torn], reasons=[HOSTILE]),
        stored(2, tmp_path / "b.png", outcome="failed", fetch_failure=fault, instances=None),
        stored(3, tmp_path / "c.png", outcome=HOSTILE, instances=[]),
    ]
    run = write_run(tmp_path / "run", "autolabel", IMAGES, rows)
    record = run.read_record() | {"job": HOSTILE, "created": HOSTILE}
    record["config"]["note"] = HOSTILE
    session = {"started": HOSTILE, "models": {HOSTILE: {HOSTILE: HOSTILE}}}
    session |= {"versions": {HOSTILE: HOSTILE}, "stages": {HOSTILE: {"seconds": {HOSTILE: 1.0}}}}
    run.write_record(record | {"sessions": [session]})
    for folder in ("calibration", "evaluation"):
        (run.path / folder).mkdir()
    (run.path / "calibration" / "x.json").write_text(json.dumps({"version": HOSTILE}))
    evaluation = {HOSTILE: {HOSTILE: {"a": HOSTILE}, "b": {"a": 1}}, "legend": {HOSTILE: HOSTILE}}
    (run.path / "evaluation" / "evaluation.json").write_text(json.dumps(evaluation))
    html = report(run)
    _is_inert(html)
    for place in ("outcomes", "failures", "gallery", "scores", "quality", "night", "provenance"):
        assert "<script>window.pwned=1</script>" in section(html, place).raw, place
    assert "{{ 7*7 }}" in html.raw


def test_texts_of_pages_do_not_become_markup(tmp_path: Path) -> None:
    row = page(1, scan(tmp_path / "a.png", "x"), f"{HOSTILE}\n\u202egpj.exe\x00\x1b[31m", 0.9)
    row |= {"vlm_text": HOSTILE, "vlm_model": HOSTILE, "text_source": HOSTILE}
    html = report(write_run(tmp_path / "run", "ocr_backfill", PAGES, [row]))
    _is_inert(html)
    (card,) = cards(html)
    assert HOSTILE in card.raw
    assert "<U+202E>gpj.exe<U+0000><U+001B>[31m" in card.raw


def _is_inert(html: Node) -> None:
    """Our one script and style, no handlers, nothing that is loaded or followed to the outside."""
    assert [node.tag for node in html.walk()].count("script") == 1
    assert [node.tag for node in html.walk()].count("style") == 1
    for node in html.walk():
        assert not [name for name in node.attributes if name.startswith("on")], node.attributes
        assert not node.attributes.keys() & {
            "style",
            "srcset",
            "xlink:href",
            "action",
            "formaction",
        }
        assert node.tag not in ("iframe", "object", "embed", "link", "base", "template")
        if "src" in node.attributes:
            assert re.fullmatch(r"data:image/webp;base64,[\w+/]+=*", node.attributes["src"])
        if "href" in node.attributes:
            assert re.fullmatch(r"#[\w-]+", node.attributes["href"])


def test_the_page_loads_nothing_and_its_policy_says_so(images) -> None:
    _, html = images
    _is_inert(html)
    policy = html.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag in ("script", "style"):
        text = html.all(tag)[0].raw
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
        assert not re.search(r"https?:|//\w|@import|url\((?!#)|fetch\(|XMLHttp|innerHTML", text)


def test_every_control_and_picture_has_a_name(images) -> None:
    _, html = images
    assert html.one("html", lang="en")
    for tag in ("main", "header", "nav", "footer"):
        assert len(html.all(tag)) == 1
    assert [n.text for n in html.all("h1")] == ["run"]
    for image in html.all("img"):
        assert image.attributes["alt"].strip()
    for control in html.all("select") + html.all("input"):
        assert any(control in label.walk() for label in html.all("label"))
    for drawing in html.all("svg"):
        named = drawing.attributes.get("role") == "img" and drawing.attributes.get("aria-label")
        assert named or drawing.attributes.get("aria-hidden") == "true"
    for part in html.all("section"):
        assert html.one("h2", id=part.attributes["aria-labelledby"]).text
    assert html.one("p", id="shown").attributes["aria-live"] == "polite"


def test_colours_of_text_reach_the_contrast_of_wcag_aa() -> None:
    css = (Path(__file__).parents[3] / "pipelines" / "report" / "page.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    for scheme in (light, dark):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", scheme))
        for ink in ("ink", "quiet", "accent", "good", "review", "failed", "empty", "vlm", "native"):
            for ground in ("paper", "card"):
                assert _contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        assert _contrast(colours["ink"], colours["review-soft"]) >= 4.5


def _contrast(one: str, other: str) -> float:
    """Of two sRGB colours, WCAG 2.2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_a_report_of_20_000_rows_stays_small(tmp_path: Path) -> None:
    run = images_run(tmp_path, 20_000, shards=10)
    written = write_report(run)
    assert (written.rows, written.samples, written.pictures) == (20_000, 200, 200 - _failed(run))
    assert written.bytes < 6_000_000
    shown = counts(parsed(written.path), "images by outcome")
    assert sum(int(cells[0].replace(",", "")) for cells in shown.values()) == 20_000


def _failed(run: RunDir) -> int:
    html = parsed(run.path / "report.html")
    return sum("CORRUPT_IMAGE" in card.text for card in cards(html))


def test_pictures_keep_to_their_limit(tmp_path: Path) -> None:
    run = images_run(tmp_path, 100)
    html = report(run, picture_bytes=500_000)
    urls = [image.attributes["src"] for image in html.all("img")]
    assert len(urls) > 50
    assert sum(map(len, urls)) <= 500_000


def test_a_page_that_is_gone_says_so(tmp_path: Path) -> None:
    kept = page(1, scan(tmp_path / "kept.png", "x"), "kept", 0.9)
    gone = page(2, tmp_path / "gone.png", "gone", 0.9)
    changed = page(3, scan(tmp_path / "changed.png", "x"), "changed", 0.9, width=7)
    run = write_run(tmp_path / "run", "ocr_backfill", PAGES, [kept, gone, changed])
    by_name = {card.all("h3")[0].text.split()[0]: card for card in cards(report(run))}
    assert by_name["kept.png"].all("img")
    assert "OBJECT_MISSING" in by_name["gone.png"].all("span", "pic")[0].text
    assert "OBJECT_CHANGED" in by_name["changed.png"].all("span", "pic")[0].text


def test_a_record_of_another_version_still_has_a_report(tmp_path: Path) -> None:
    run = images_run(tmp_path, 10)
    run.write_record({"job": "autolabel", "config": {"fetch": {"dpii": 3}}})
    html = report(run)
    assert "It cannot be fetched" in cards(html)[0].text
    assert len(cards(html)) == 10


def test_when_time_is_up_it_says_what_was_counted(tmp_path: Path) -> None:
    run = images_run(tmp_path, 90, shards=9)
    html = report(run, seconds=0.0)
    assert "1 of 9 shards" in html.text
    assert "10 of about 90 images" in html.text
    assert any("time limit for pictures reached" in card.text for card in cards(html))


def test_a_run_without_shards_has_a_report(tmp_path: Path) -> None:
    html = report(write_run(tmp_path / "run", "ocr_backfill", PAGES))
    assert "No shard is committed yet" in html.text
    assert cards(html) == []


def test_without_samples_no_text_of_a_page_is_in_it(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run",
        "ocr_backfill",
        PAGES,
        [page(1, scan(tmp_path / "a.png", "x"), "a confidential text", 0.9)],
    )
    assert "a confidential text" in report(run).raw
    assert "a confidential text" not in report(run, samples=0).raw


def test_half_a_character_in_the_record_does_not_stop_it(tmp_path: Path) -> None:
    run = images_run(tmp_path, 3)
    run.record.write_text(json.dumps(run.read_record() | {"job": "lone \ud800"}), encoding="utf-8")
    assert "lone <U+D800>" in report(run).text


def test_no_run_and_no_place_to_write_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound):
        write_report(RunDir(tmp_path / "nothing"))
    run = images_run(tmp_path, 3)
    with pytest.raises(OutputUnwritable):
        write_report(run, out=run.record / "report.html")
