"""Which files of a working directory go to the cluster."""

from __future__ import annotations

import io
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY

from jobs.cluster.package import Package, package
from pipelines.errors import ConfigError

SECRET = "planted-secret-3f9a"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {
        "configs/night.yaml": "job: ocr_backfill",
        "my_jobs/prompts.py": "PROMPT = 'read'",
        "weights/small/model.safetensors": "w" * 1000,
        "weights/small/config.json": "{}",
        "weights/other/model.safetensors": "w" * 5000,
        "pages/1.png": "p" * 100,
        "runs/last/shards/part-00000-1.parquet": "rows",
        ".venv/bin/python": "python",
        ".git/HEAD": "ref",
        ".env": SECRET,
        ".aws/credentials": SECRET,
        "deploy.pem": SECRET,
        "my_jobs/__pycache__/prompts.pyc": "x",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def packed(folder: Path, **config: Any) -> Package:
    return package(folder, "night.yaml", {"job": "ocr_backfill", **config})


def test_code_and_configs_go_data_keys_and_outputs_stay(folder: Path) -> None:
    assert set(packed(folder).files) == {
        "configs/night.yaml",
        "my_jobs/prompts.py",
        "weights/small/config.json",
    }


def test_data_goes_if_the_config_names_it_or_its_folder(folder: Path) -> None:
    made = packed(folder, source={"path": "pages/*.png"}, detector={"model": "weights/small"})
    assert {"pages/1.png", "weights/small/model.safetensors"} <= set(made.files)
    assert "weights/other/model.safetensors" not in made.files


def test_keys_stay_even_if_the_config_names_all_of_the_folder(folder: Path) -> None:
    made = packed(folder, source={"path": "."})
    assert "weights/other/model.safetensors" in made.files
    assert SECRET not in "".join(path.read_text() for path in made.files.values())
    assert not [name for name in made.files if name.startswith(("runs", ".venv", ".git"))]


def test_files_that_git_ignores_are_not_sent(folder: Path) -> None:
    (folder / ".git/HEAD").unlink()
    (folder / ".git").rmdir()
    subprocess.run(["git", "init", "-q", folder], check=True)
    (folder / ".gitignore").write_text("my_jobs/\n")
    assert "my_jobs/prompts.py" not in packed(folder).files
    assert "configs/night.yaml" in packed(folder).files


def test_the_zip_holds_the_config_as_it_was_overridden_and_is_the_same_twice(folder: Path) -> None:
    made = packed(folder, run_dir="s3://bucket/run")
    first = made.zipped()
    os.utime(folder / "my_jobs/prompts.py", (1, 1))
    assert packed(folder, run_dir="s3://bucket/run").zipped() == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert yaml.safe_load(archive.read(made.config))["run_dir"] == "s3://bucket/run"
        assert set(archive.namelist()) == {made.config, *made.files}


def test_a_large_package_is_refused_with_the_names_of_its_largest_files(folder: Path) -> None:
    config = {"job": "ocr_backfill", "detector": {"model": "weights"}}
    with pytest.raises(
        ConfigError, match=r"largest files: weights/other/model.safetensors \(5.0 kB"
    ):
        package(folder, "night.yaml", config, max_mb=0.004)


def test_this_repository_is_small_without_what_its_config_does_not_name() -> None:
    raw = yaml.safe_load((REPOSITORY / "configs/ocr_backfill/quickstart.yaml").read_text())
    made = package(REPOSITORY, "quickstart.yaml", raw)
    assert "configs/samples/documents/receipt_cafe.jpg" in made.files
    assert not [name for name in made.files if "pocket" in name and name.endswith(".safetensors")]
    assert sum(made.sizes.values()) < 8e6
    labels = yaml.safe_load((REPOSITORY / "configs/autolabel/quickstart.yaml").read_text())
    assert "configs/autolabel/pocket/detector/model.safetensors" in (
        package(REPOSITORY, "quickstart.yaml", labels).files
    )
