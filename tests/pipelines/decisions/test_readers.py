"""Several OCR engines in one run, each in its own environment, each page read by one."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from bad_files import SAMPLES
from chat_server import Asked, Reply, chat_server, said
from doubles.three_readers_job import JOB
from pydantic import ValidationError

from actors.contract import Pool
from actors.failures import FAILURE
from actors.lines import LINES
from actors.own_rows import READER
from pipelines.decisions.readers import SURFACE, BySurface, choose_reader
from pipelines.engine import environments
from pipelines.errors import ConfigError, SchemaMismatch
from pipelines.ocr_backfill import OcrBackfillConfig, ocr_backfill
from pipelines.run import Run

SURYA = "datalab-to/surya-ocr-2"
ROUTED = {"scene": "surya", "screenshot": "paddle_ocr"}
LOCK = Path(environments.__file__).parents[2] / "infra" / "engines" / "paddle_ocr.lock"
#: What Ray is told of every pool without a GPU.
ONE_HEAP = {"env_vars": {"MALLOC_ARENA_MAX": "1", "CUDA_VISIBLE_DEVICES": ""}}
CAFE = SAMPLES / "receipt_cafe.jpg"
isolated = pytest.mark.skipif(
    environments.find("paddle_ocr") is None, reason="no environment paddle_ocr: make engines"
)


def config(**changes: Any) -> OcrBackfillConfig:
    return OcrBackfillConfig.model_validate(
        {"run_dir": "run", "source": {"path": "scans"}, **changes}
    )


def answers(asked: Asked) -> Reply:
    """As Surya's server: one block on the page, and what it says."""
    if "response_format" in asked.body:
        return said(json.dumps([{"label": "Text", "bbox": "50 50 950 950", "count": 9}]))
    return said("<p>CAF\u00c9 LUMI\u00c8RE</p><p>read by surya</p>")


def run(folder: Path, **changes: Any) -> dict[str, dict[str, Any]]:
    """First pages by file name, of a real run over `folder`/scans."""
    chosen = config(
        run_dir=str(folder / "run"),
        source={"path": str(folder / "scans")},
        ray={"object_store_mb": 200},
        **changes,
    )
    with Run.of(JOB, chosen).opened() as opened:
        total = opened.plan().pages
        opened.execute()
    rows = ds.dataset(folder / "run" / "shards").to_table().to_pylist()
    assert len(rows) == total
    return {Path(row["uri"]).name: row for row in rows if row["page"] == 1}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """The same receipt as each surface, and what no reader can read."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for surface in ("scene", "document", "screenshot", "unknown"):
        shutil.copy(CAFE, folder / f"{surface}_cafe.jpg")
    (folder / "screenshot_torn.jpg").write_bytes(CAFE.read_bytes()[:3000])
    shutil.copy(SAMPLES / "annual_report.pdf", folder / "screenshot_report.pdf")
    return tmp_path


@isolated
def test_one_run_reads_with_three_engines_each_in_its_environment(scans: Path) -> None:
    """PaddleOCR cannot be imported here, and the steps after it ride in its worker."""
    with chat_server() as server:
        server.models, server.always = [SURYA], answers
        rows = run(scans, reader=ROUTED, surya={"base_url": server.base_url})
    engines = {name: (row["lines_source"] or "").split(" ")[0] for name, row in rows.items()}
    assert engines == {
        "scene_cafe.jpg": "surya",
        "document_cafe.jpg": "rapid_ocr",
        "screenshot_cafe.jpg": "paddle_ocr",
        "unknown_cafe.jpg": "rapid_ocr",
        "screenshot_torn.jpg": "",
        "screenshot_report.pdf": "native",
    }
    for name in ("scene_cafe.jpg", "document_cafe.jpg", "screenshot_cafe.jpg"):
        assert rows[name]["text"].startswith("CAF\u00c9 LUMI\u00c8RE")
        assert rows[name]["evidence"]["ink_share"] > 0
        assert rows[name]["reader"] == engines[name]
    assert rows["scene_cafe.jpg"]["ocr_blocks"][0]["type"] == "text"
    assert rows["document_cafe.jpg"]["ocr_blocks"] is None
    assert rows["screenshot_torn.jpg"]["outcome"] == "failed"
    record = json.loads((scans / "run" / "run.json").read_text())
    (session,) = record["sessions"]
    assert set(session["models"]) >= {"rapid_ocr", "paddle_ocr", "surya"}
    assert session["models"]["paddle_ocr"]["engine"].startswith("paddle_ocr 3.7")
    assert not any(name.startswith("paddle") for name in sys.modules)
    assert not [column for row in rows.values() for column in row if "." in column]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_ray_builds_the_environment_itself_where_none_is_prebuilt(scans: Path) -> None:
    """Ray copies our environment first, 8 GB of it, and leaves the copy lying there."""
    pool = {"environment": None, "uv": str(LOCK), "num_cpus": 0.75}
    try:
        rows = run(scans, reader="paddle_ocr", paddle_ocr_pool=pool)
    finally:
        for copy in Path("/tmp/ray").glob(f"session_*_{os.getpid()}/runtime_resources/uv"):
            shutil.rmtree(copy, ignore_errors=True)
    assert rows["document_cafe.jpg"]["lines_source"].startswith("paddle_ocr 3.7")


def test_without_a_choice_nothing_has_changed() -> None:
    flow = ocr_backfill(config())
    assert [stage.name for stage in flow.stages] == ["page_fetcher", "rapid_ocr"]
    assert "reader" not in flow.schema.names


def test_one_other_reader_takes_the_place_of_the_first() -> None:
    flow = ocr_backfill(config(reader="paddle_ocr"))
    assert [stage.name for stage in flow.stages] == ["page_fetcher", "paddle_ocr"]
    assert flow.schema.equals(ocr_backfill(config()).schema)
    assert flow.stages[1].pool.environment == "paddle_ocr"
    assert config(reader="surya").readers == ("native_text", "surya")


def test_routing_without_surfaces_is_refused_before_anything_starts() -> None:
    with pytest.raises(SchemaMismatch, match="choose_reader reads surface"):
        ocr_backfill(config(reader=ROUTED))


def test_the_cascade_names_every_engine_that_reads() -> None:
    named = config(reader=ROUTED, cascade=["rapid_ocr", "surya", "paddle_ocr"])
    assert named.readers == ("rapid_ocr", "surya", "paddle_ocr")
    with pytest.raises(ValidationError, match="cascade needs rapid_ocr, surya, paddle_ocr and"):
        config(reader=ROUTED, cascade=["rapid_ocr"])


def test_each_surface_has_its_reader_and_the_unknown_the_general_one() -> None:
    surfaces = ["scene", "document", "screenshot", None, "a new kind"]
    rows = pa.table({"surface": pa.array(surfaces, SURFACE.type)})
    out = choose_reader.run(rows, BySurface(scene="surya", unsure="paddle_ocr"))
    expected = ["surya", "rapid_ocr", "rapid_ocr", "paddle_ocr", "paddle_ocr"]
    assert out[READER.name].to_pylist() == expected


def test_readings_are_joined_whatever_each_reader_writes() -> None:
    """The columns of three readers, one of which writes one more."""
    flow = JOB.flow(config(reader=ROUTED))
    (join,) = [
        rider.step
        for stage in flow.stages
        for rider in stage.then
        if rider.step and rider.step.name == "join_readings"
    ]
    settings = next(r.settings for s in flow.stages for r in s.then if r.step is join)
    line = {
        "text": "x",
        "score": 0.5,
        "polygon": [0.0] * 8,
        "row": 1,
        "column": 0,
        "script": "Latn",
    }
    filled = {"rapid_ocr.ocr_lines": [[line], None, None], "surya.ocr_lines": [None, [], None]}
    fault = {"kind": "CORRUPT_IMAGE", "message": "m"}
    filled["paddle_ocr.ocr_failure"] = [None, None, fault]
    filled["reader"] = ["rapid_ocr", "surya", "paddle_ocr"]
    columns = {
        field.name: pa.array(filled.get(field.name, [None] * 3), field.type) for field in join.reads
    }
    out = join.run(pa.table(columns), settings)
    assert out.schema.equals(pa.schema([*join.reads, *join.writes]))
    assert out["ocr_lines"].to_pylist() == [[line], [], None]
    assert out["ocr_lines"].type == LINES
    assert out["ocr_failure"].to_pylist() == [None, None, fault]
    assert out["ocr_failure"].type == FAILURE


def test_an_environment_that_is_not_there_says_how_to_make_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NIGHTJAR_VENVS", str(tmp_path))
    with pytest.raises(ConfigError, match=f"no environment paddle_ocr in {tmp_path}") as caught:
        environments.runtime_env(Pool(environment="paddle_ocr"))
    assert "make engines" in caught.value.remedy
    python = tmp_path / "paddle_ocr" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    theirs = {"py_executable": str(python)}
    assert environments.runtime_env(Pool(environment="paddle_ocr", num_gpus=1)) == theirs
    assert environments.runtime_env(Pool(environment="paddle_ocr")) == theirs | ONE_HEAP
    built = environments.runtime_env(Pool(uv=str(LOCK)))
    assert built
    assert "paddleocr==3.7.0" in built["uv"]["packages"]
    with pytest.raises(ConfigError, match="cannot read lock file"):
        environments.runtime_env(Pool(uv=str(tmp_path / "none.lock")))
    assert environments.runtime_env(Pool()) == ONE_HEAP
    assert environments.runtime_env(Pool(num_gpus=1)) == {}


def test_a_pool_runs_in_one_place() -> None:
    with pytest.raises(ValidationError, match="set only one of environment"):
        Pool(environment="a", py_executable="/b")
    with pytest.raises(ValidationError, match="recycle_mb"):
        Pool(recycle_mb=100, concurrency=2)
