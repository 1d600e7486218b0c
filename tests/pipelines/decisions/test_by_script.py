"""The engine of each script: its config, the choice, and pages read with the real engines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError
from rapidfuzz.distance import Levenshtein

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from parts.pages.script_pages import LANGUAGES, Page, missing, page

from actors.failures import FAILURE, FailureKind, SetupError, failure
from actors.ocr.tesseract.language_data import data_folder, installed
from pipelines.decisions.by_script import ByScript, Choice, choose_by_script, script_name
from pipelines.flow import Stage
from pipelines.ocr_backfill import OcrBackfillConfig, ocr_backfill
from pipelines.sources.manifest import MANIFEST

ROUTED = {"cyrillic": "tesseract", "greek": "tesseract", "hebrew": "tesseract"}


def config(**changes: Any) -> OcrBackfillConfig:
    return OcrBackfillConfig.model_validate(
        {"run_dir": "run", "source": {"path": "scans"}, **changes}
    )


def stage(chosen: OcrBackfillConfig, name: str) -> Stage:
    return next(one for one in ocr_backfill(chosen).stages if one.name.startswith(name))


@pytest.mark.parametrize(
    ("code", "letters", "name"),
    [
        ("Latn", 0.0, "latin"),
        ("Latn", None, "latin"),
        ("Latn", 0.4, "vietnamese"),
        ("Jpan", 0.4, "han"),
        ("Kore", 0.0, "hangul"),
        ("Geor", 0.0, "other"),
        (None, 0.9, None),
    ],
)
def test_a_page_has_the_key_of_its_script(
    code: str | None, letters: float | None, name: str | None
) -> None:
    assert script_name(code, letters) == name


def test_each_script_has_its_reader_and_languages_and_the_rest_the_first() -> None:
    codes = ["Cyrl", "Latn", "Thai", None, "Latn"]
    letters = [0.0, 0.0, 0.0, None, 0.9]
    columns = {name: pa.array(values) for name, values in (("script", codes), ("unread", letters))}
    rows = pa.table(
        {
            "rapid_ocr.script": columns["script"],
            "rapid_ocr.unread_letters": columns["unread"].cast(pa.float32()),
        }
    )
    readers = ByScript(cyrillic="tesseract", vietnamese="paddle_ocr")
    choice = Choice(readers=readers, languages={"cyrillic": "rus+ukr"})
    out = choose_by_script.run(rows, choice)
    expected = ["tesseract", "rapid_ocr", "rapid_ocr", "rapid_ocr", "paddle_ocr"]
    assert out["reader"].to_pylist() == expected
    assert out["page_languages"].to_pylist() == ["rus+ukr", None, None, None, None]


def test_the_flow_has_the_columns_of_one_reader() -> None:
    chosen = config(reader=ROUTED)
    assert chosen.readers == ("native_text", "rapid_ocr", "tesseract")
    flow, plain = ocr_backfill(chosen), ocr_backfill(config())
    assert set(flow.schema.names) == {*plain.schema.names, "reader"}
    assert len(flow.stages) == 3
    pool = stage(chosen, "tesseract").pool
    assert (pool.num_cpus, pool.max_size, pool.environment) == (0.75, None, None)


def test_languages_are_the_usual_ones_unless_they_are_named() -> None:
    reader = {"cyrillic": "tesseract", "greek": "tesseract"}
    usual = stage(config(reader=reader), "tesseract").config.model_dump()["languages"]
    assert usual == {"cyrillic": ("rus", "eng"), "greek": ("ell", "eng")}
    chosen = config(reader=reader, tesseract={"languages": {"cyrillic": ["rus", "ukr"]}})
    named = stage(chosen, "tesseract").config.model_dump()["languages"]
    assert named == {"cyrillic": ("rus", "ukr"), "greek": ("ell", "eng")}
    chosen = config(reader=reader, tesseract={"languages": ["rus", "ell"]})
    assert stage(chosen, "tesseract").config.model_dump()["languages"] == ("rus", "ell")
    assert stage(config(reader="tesseract"), "tesseract").name == "tesseract"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reader": {"cyrillic": "tesserakt"}}, "Input should be 'rapid_ocr', 'paddle_ocr'"),
        ({"reader": {"cyrillic": "tesseract", "grek": "surya"}}, "by script.grek"),
        ({"reader": {"other": "tesseract"}}, "set tesseract.languages.other, e.g. "),
        ({"tesseract": {"languages": {"greek": ["ell"]}}}, "needs `reader` by script, e.g."),
        ({"tesseract": {"languages": {"grek": ["ell"]}}, "reader": ROUTED}, "tesseract.languages"),
        ({"tesseract": {"languages": ["../ell"]}}, "tesseract.languages"),
        ({"reader": ROUTED, "cascade": ["rapid_ocr"]}, "cascade needs rapid_ocr, tesseract and"),
        ({"reader": "tesserakt"}, "Input should be 'rapid_ocr', 'paddle_ocr'"),
    ],
)
def test_mistakes_in_the_config_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config(**changes)
    assert message in str(caught.value)
    assert "by surface" not in str(caught.value)


def test_only_the_reading_of_the_chosen_engine_is_kept() -> None:
    """Also where it has nulls, and where it failed."""
    flow = ocr_backfill(config(reader=ROUTED))
    ((join, settings),) = [
        (rider.step, rider.settings)
        for one in flow.stages
        for rider in one.then
        if rider.step and rider.step.name == "join_readings"
    ]
    fault = failure(FailureKind.ENGINE_FAULT, "m")
    filled: dict[str, list[Any]] = {
        "reader": ["tesseract", "rapid_ocr", "tesseract"],
        "rapid_ocr.text_outside": [0.25, 0.5, 0.75],
        "rapid_ocr.ocr_lines": [[], [], []],
        "tesseract.ocr_engine": ["tesseract 5", None, None],
        "rapid_ocr.ocr_engine": ["rapid_ocr 3"] * 3,
        "tesseract.ocr_failure": [None, None, fault],
    }
    nothing = [None] * 3
    rows = pa.table({f.name: pa.array(filled.get(f.name, nothing), f.type) for f in join.reads})
    out = join.run(rows, settings)
    assert out["text_outside"].to_pylist() == [None, 0.5, None]
    assert out["ocr_lines"].to_pylist() == [None, [], None]
    assert out["ocr_engine"].to_pylist() == ["tesseract 5", "rapid_ocr 3", None]
    assert out["ocr_failure"].to_pylist() == [None, None, fault]
    assert out["ocr_failure"].type == FAILURE
    assert join.run(rows.slice(0, 0), settings).num_rows == 0


def test_a_worker_without_the_data_of_a_language_does_not_start(tmp_path: Path) -> None:
    pytest.importorskip("tesserocr")
    chosen = config(reader=ROUTED, tesseract={"tessdata": str(tmp_path)})
    started = stage(chosen, "tesseract")
    with pytest.raises(SetupError, match="no data for") as caught:
        started.actor(started.config)
    assert "apt-get install tesseract-ocr-" in caught.value.remedy


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    """One page each in Latin, Cyrillic, Greek, Hebrew and Thai; Thai has no reader."""
    pytest.importorskip("tesserocr")
    try:
        lacking = {"eng", "rus", "ell", "heb"} - set(installed(data_folder(None)))
    except SetupError as error:
        pytest.skip(error.remedy)
    wanted = [one for one in LANGUAGES if one.code in ("eng", "rus", "ell", "heb", "tha")]
    if reason := next(filter(None, map(missing, wanted)), ""):
        pytest.skip(reason)
    if lacking:
        pytest.skip(f"no data for {', '.join(lacking)}")
    return {one.code: page(one, one.fonts[0]) for one in wanted}


@pytest.fixture(scope="module")
def finished(
    pages: dict[str, Page], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """The rows of the job, by name of the page; it ran in this process."""
    folder = tmp_path_factory.mktemp("scans")
    rows = []
    for number, (name, one) in enumerate(pages.items()):
        path = folder / f"{name}.png"
        path.write_bytes(one.png)
        rows.append({"row_id": number, "uri": str(path), "page": 1, "pages": 1, "kind": "png"})
    floors = {"tesseract": {"mean_score": 0.85}}  # as in configs/ocr_backfill/scripts.yaml
    routing = {"floors": floors}
    chosen = config(reader=ROUTED, fetch={"check_version": False}, routing=routing)
    table = pa.Table.from_pylist(rows, MANIFEST)
    out = ocr_backfill(chosen).run_here(table).to_pylist()
    return {Path(row["uri"]).stem: row for row in out}


def test_one_job_reads_each_page_with_the_engine_of_its_script(
    pages: dict[str, Page], finished: dict[str, dict[str, Any]]
) -> None:
    engines = {name: row["lines_source"].split(" ")[0] for name, row in finished.items()}
    assert engines == {
        **{"eng": "rapid_ocr", "tha": "rapid_ocr"},
        **{"rus": "tesseract", "ell": "tesseract", "heb": "tesseract"},
    }
    assert finished["rus"]["lines_source"].endswith(" rus+eng")
    for name in ("eng", "rus", "ell", "heb"):
        row, truth = finished[name], "\n".join(pages[name].lines)
        assert row["reader"] == engines[name]
        assert row["outcome"] == "ocr", (name, row["reasons"])
        assert Levenshtein.distance(row["text"], truth) / len(truth) < 0.05
    assert [finished[name]["script"] for name in ("rus", "ell", "heb")] == ["Cyrl", "Grek", "Hebr"]
    assert finished["tha"]["outcome"] == "review"
    assert "script_not_readable" in finished["tha"]["reasons"]
