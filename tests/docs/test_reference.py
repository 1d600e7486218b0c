"""docs/reference/ agrees with the code, and every entry has a meaning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import hand_made_runs as runs
import pyarrow.parquet as pq
import pytest

from pipelines.job import MODULES, load_job

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import reference  # noqa: E402
from generator import columns, commands, config_keys, meanings  # noqa: E402

QUICKSTARTS = {
    "ocr_backfill": "configs/ocr_backfill/quickstart.yaml",
    "autolabel": "configs/autolabel/quickstart.yaml",
}


def test_the_committed_pages_are_what_the_script_writes() -> None:
    made = reference.pages()
    assert {path.name for path in reference.FOLDER.iterdir()} == set(made)
    for name, text in made.items():
        assert (reference.FOLDER / name).read_text(encoding="utf-8") == text, (
            f"{name} is stale: run .venv/bin/python docs/reference.py"
        )


def test_the_check_names_the_stale_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "FOLDER", tmp_path / "reference")
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    (tmp_path / "reference" / "cli.md").write_text("old")
    (tmp_path / "reference" / "left-over.md").write_text("")
    assert reference.stale() == ["cli.md", "left-over.md"]
    assert reference.main(["--check"]) == 1


def test_the_script_runs_as_its_page_says() -> None:
    done = subprocess.run(
        [sys.executable, "docs/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("job", MODULES)
def test_every_column_has_a_meaning_and_every_meaning_a_column(job: str) -> None:
    schema = columns.fullest(job)
    assert not any(len(meanings.meaning(job, name)) < 10 for name in schema.names)
    there = {path.replace("[]", "") for path in columns.fields(schema)}
    assert meanings.known(job) <= there


@pytest.mark.parametrize("job", MODULES)
def test_the_fullest_config_writes_what_any_variant_writes(job: str) -> None:
    full = columns.fullest(job)
    for _, config in columns.VARIANTS[job]:
        for field in columns.schema_of(job, config):
            assert full.field(field.name).type == field.type


@pytest.mark.parametrize("job", MODULES)
def test_every_key_has_a_description(job: str) -> None:
    keys = [key for section in config_keys.sections(job) for key in section.keys]
    assert len(keys) > 100
    for key in keys:
        assert key.description.strip(" ."), f"{job}: {key.name} has no description="
        assert key.type, key
        assert key.default, key


@pytest.mark.parametrize("job", MODULES)
def test_every_key_of_a_real_config_is_there(job: str) -> None:
    there = {key.name for section in config_keys.sections(job) for key in section.keys}
    for file in (ROOT / "configs" / job).glob("*.yaml"):
        _, config = load_job(file)
        written = config.model_dump(mode="json", exclude_unset=True)
        for path in dotted(written):
            assert path in there or named(path) & there, f"{file.name}: {path}"


def test_every_command_argument_and_option_is_said() -> None:
    for one in commands.commands():
        assert one.command.help, one.words
        for parameter in one.command.params:
            assert parameter.help, f"{one.words}: {parameter.name}"


def test_the_columns_of_finished_runs_are_in_the_tables(tmp_path: Path) -> None:
    scan = runs.scan(tmp_path / "in" / "a.png", "text")
    pages = runs.write_run(
        tmp_path / "pages", "ocr_backfill", runs.PAGES, [runs.page(1, scan, "text", 0.9)]
    )
    labelled = runs.stored(1, runs.picture(tmp_path / "in" / "b.jpg"))
    labelled["instances"] = [runs.label(runs.CLASSES[0], (10, 10, 40, 40))]
    images = runs.write_run(tmp_path / "images", "autolabel", runs.IMAGES, [labelled])
    for job, run in (("ocr_backfill", pages), ("autolabel", images)):
        table = columns.fields(columns.fullest(job))
        for shard in run.shard_files():
            for path, field in columns.fields(pq.read_schema(shard)).items():
                assert table[path].type == field.type, path


@pytest.mark.parametrize("job", MODULES)
def test_the_columns_of_the_quickstarts_are_in_the_tables(job: str) -> None:
    found, config = load_job(ROOT / QUICKSTARTS[job])
    table = columns.fields(columns.fullest(job))
    for path, field in columns.fields(found.flow(config).schema).items():
        assert table[path].type == field.type, path


def dotted(value: Any, path: str = "") -> list[str]:
    """The keys of a config as the reference spells them."""
    if isinstance(value, list):
        return [one for item in value for one in dotted(item, f"{path}[]")]
    if not isinstance(value, dict):
        return [] if path.endswith("[]") else [path]
    here = [path] if path and not path.endswith("[]") else []
    below = [dotted(inner, f"{path}.{key}".strip(".")) for key, inner in value.items()]
    return [*here, *(one for some in below for one in some)]


def named(path: str) -> set[str]:
    """A path with one of its parts, and with its end, as a name of the user's choice."""
    parts = path.split(".")
    spelled = {".".join([*parts[:at], "NAME", *parts[at + 1 :]]) for at in range(len(parts))}
    return spelled | {".".join(parts[:-1])}
