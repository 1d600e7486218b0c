"""Messages and exit codes of the command line. Nothing here starts Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY, Ended, write_config
from PIL import Image

Command = Callable[..., Ended]


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    folder = tmp_path / "pages"
    folder.mkdir()
    for name in ("a", "b", "c"):
        Image.new("L", (300, 80), 255).save(folder / f"{name}.png")
    return folder


def test_help_is_instant_because_it_imports_nothing_heavy() -> None:
    heavy = "{'ray', 'pyarrow', 'numpy', 'cv2', 'pydantic'}"
    probe = (
        "import sys; from jobs import cli; import contextlib\n"
        "with contextlib.suppress(SystemExit): cli.app(['--help'])\n"
        f"sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("plan", "run", "show", "config"):
        assert command in done.stdout


def test_help_documents_the_exit_codes(nightjar: Command) -> None:
    assert "5 run directory in conflict" in " ".join(nightjar("--help").out.split())


def test_an_unknown_key_is_refused_with_the_nearest_name(
    command: Command, tmp_path: Path, pages: Path
) -> None:
    config = write_config(tmp_path, pages, fetch={"dpii": 300})
    ended = command("config", "check", config)
    assert ended.code == 2
    assert "fetch.dpii: unknown key; did you mean 'dpi'?" in ended.err


def test_a_wrong_value_is_named_with_what_was_given(
    command: Command, tmp_path: Path, pages: Path
) -> None:
    ended = command("config", "check", write_config(tmp_path, pages), "--set", "fetch.dpi=-1")
    assert ended.code == 2
    assert "fetch.dpi" in ended.err
    assert "-1" in ended.err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fetch.dpi", "expected KEY=VALUE, such as fetch.dpi=150"),
        ("run_dir.deeper=1", "run_dir is a value, not a group"),
        ("job=paint", "'paint' is neither a built-in job (ocr_backfill"),
    ],
)
def test_bad_overrides_say_what_is_wrong(
    command: Command, tmp_path: Path, pages: Path, override: str, message: str
) -> None:
    ended = command("config", "check", write_config(tmp_path, pages), "--set", override)
    assert ended.code == 2
    assert message in ended.err


def test_check_plans_the_flow(command: Command, tmp_path: Path, pages: Path) -> None:
    ended = command("config", "check", write_config(tmp_path, pages))
    assert ended.code == 0, ended.err
    for stage in ("page_fetcher", "rapid_ocr", "settle", "drop"):
        assert stage in ended.out


def test_schema_is_a_json_schema_with_a_description_of_each_pool_key(command: Command) -> None:
    schema = json.loads(command("config", "schema", "ocr_backfill").out)
    assert schema["properties"]["source"]
    pool = schema["$defs"]["Pool"]["properties"]
    assert all("description" in key for key in pool.values())
    assert schema["additionalProperties"] is False


def test_plan_freezes_a_manifest_and_estimates(
    command: Command, tmp_path: Path, pages: Path
) -> None:
    config = write_config(tmp_path, pages, prices={"cpu_hour": 3600, "currency": "EUR"})
    first = command("plan", config, "--sample", "2")
    assert first.code == 0, first.err
    assert "3 files, 3 pages" in first.out
    assert "0 pages are done, 3 to do" in first.out
    assert "workers on this machine: page_fetcher 1 x" in first.out
    assert "rapid_ocr 1 x" in first.out, "three pages are one batch"
    assert "s per page and worker (timed on 2" in first.out
    assert "EUR" in first.out
    Image.new("L", (300, 80), 255).save(pages / "late.png")
    again = command("plan", config, "--sample", "0")
    assert "3 files, 3 pages" in again.out, "a frozen manifest does not follow the source"


def test_plan_names_weights_that_are_not_there(
    command: Command, tmp_path: Path, pages: Path
) -> None:
    quickstart = REPOSITORY / "configs/autolabel/quickstart.yaml"
    settings = [f"source.path={pages}", "detector.model=/nowhere/detector", "truth=null"]
    overrides = [word for setting in settings for word in ("--set", setting)]
    ended = command("plan", quickstart, "--sample", "1", *overrides)
    assert ended.code == 4, ended.err
    assert "grounding_dino cannot start" in ended.err
    assert "/nowhere/detector" in ended.err
    assert "Traceback" not in ended.err


def test_a_changed_result_key_is_refused_by_name_and_new_starts_beside(
    command: Command, tmp_path: Path, pages: Path
) -> None:
    config = write_config(tmp_path, pages)
    assert command("plan", config, "--sample", "0").code == 0
    refused = command("plan", config, "--sample", "0", "--set", "fetch.dpi=300")
    assert refused.code == 5
    assert "fetch.dpi: 200" in refused.err
    assert "-> 300" in refused.err
    assert "--new" in refused.err
    beside = command("plan", config, "--sample", "0", "--set", "fetch.dpi=300", "--new")
    assert beside.code == 0, beside.err
    assert (tmp_path / "run-2" / "manifest").is_dir()


def test_a_changed_pool_is_no_conflict(command: Command, tmp_path: Path, pages: Path) -> None:
    config = write_config(tmp_path, pages)
    assert command("plan", config, "--sample", "0").code == 0
    again = command("plan", config, "--sample", "0", "--set", "ocr_pool.batch_size=9")
    assert again.code == 0, again.err


def test_a_missing_source_stops_with_its_name(nightjar: Command, tmp_path: Path) -> None:
    ended = nightjar("run", write_config(tmp_path, tmp_path / "nowhere"))
    assert ended.code == 3
    assert "nowhere" in ended.err
    assert "What to do" in ended.err


def test_a_run_dir_that_cannot_be_written_stops(
    nightjar: Command, tmp_path: Path, pages: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    ended = nightjar("run", write_config(tmp_path, pages, run_dir=str(tmp_path / "file" / "run")))
    assert ended.code == 6
    assert str(tmp_path / "file") in ended.err


def test_show_of_nothing_says_so(nightjar: Command, tmp_path: Path) -> None:
    ended = nightjar("show", tmp_path / "nothing")
    assert ended.code == 9
    assert "no run at" in ended.err


def test_a_run_dir_inside_its_source_is_refused(
    nightjar: Command, tmp_path: Path, pages: Path
) -> None:
    ended = nightjar("plan", write_config(tmp_path, pages, run_dir=str(pages / "run")))
    assert ended.code == 2
    assert "is inside source" in ended.err
    assert not (pages / "run").exists()


def test_a_mistyped_source_can_be_corrected(command: Command, tmp_path: Path, pages: Path) -> None:
    config = write_config(tmp_path, pages)
    mistyped = command("plan", config, "--sample", "0", "--set", f"source.path={pages}x")
    assert mistyped.code == 3
    corrected = command("plan", config, "--sample", "0")
    assert corrected.code == 0, corrected.err
    assert json.loads((tmp_path / "run/run.json").read_text())["config"]["source"]["path"] == (
        str(pages)
    )
