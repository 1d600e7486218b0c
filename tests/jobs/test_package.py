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


def test_named_like_secrets_is_anything_in_the_path_in_any_case(folder: Path) -> None:
    secrets = (
        *("data/.AWS/config", "data/.ssh/known", "data/ID_RSA.bak", "data/Credentials.csv"),
        *("data/prod.env", "data/.env.local/x", "data/vault.KDBX", "data/.netrc", "data/.npmrc"),
        *("data/gcloud/x.json", "data/service-account-1.json", "data/.docker/config.json"),
    )
    good = ("data/tokenizer.json", "data/keys.csv", "data/environment/a.csv", "data/secrets.py")
    for name in (*secrets, *good):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("plain")
    made = packed(folder, source={"path": "data"})
    assert sorted(made.left_out) == sorted(("deploy.pem", *secrets))
    assert set(good) <= set(made.files)


@pytest.fixture
def repository(folder: Path) -> Path:
    """The same folder, with its code, `deploy.pem` and `weights/small` in git."""
    (folder / ".git/HEAD").unlink()
    (folder / ".git").rmdir()
    subprocess.run(["git", "init", "-q", folder], check=True)
    subprocess.run(["git", "-C", folder, "add", "configs", "weights/small"], check=True)
    return folder


def test_what_git_does_not_track_is_not_sent_and_is_told(repository: Path) -> None:
    (repository / ".gitignore").write_text("weights/other\n")
    made = packed(repository)
    assert set(made.files) == {"configs/night.yaml", "weights/small/config.json"}
    assert set(made.untracked) == {"my_jobs/prompts.py", "deploy.pem"}
    asked = package(repository, "night.yaml", {"job": "ocr_backfill"}, include=["my_jobs"])
    assert set(asked.files) == {*made.files, "my_jobs/prompts.py"}
    named = packed(repository, detector={"model": "weights/other/model.safetensors"})
    assert "weights/other/model.safetensors" in named.files


def test_a_secret_in_git_stops_the_submission_until_it_is_named(repository: Path) -> None:
    subprocess.run(["git", "-C", repository, "add", "deploy.pem"], check=True)
    with pytest.raises(ConfigError) as caught:
        packed(repository)
    assert "deploy.pem: 'deploy.pem' is a name of secrets" in caught.value.message
    assert "--include deploy.pem" in caught.value.remedy
    assert SECRET not in caught.value.message
    made = package(repository, "night.yaml", {"job": "ocr_backfill"}, include=["deploy.pem"])
    assert "deploy.pem" in made.files


@pytest.mark.parametrize("include", [["my_jobs"], ["my_jobs", "my_jobs/settings.py"]])
def test_a_secret_in_a_text_stops_it_and_is_not_shown(folder: Path, include: list[str]) -> None:
    token = "ghp_" + "0123456789abcdefghijABCDEFGHIJ012345"
    (folder / "my_jobs/settings.py").write_text(f"URL = 1\nTOKEN = '{token}'\n")
    if "my_jobs/settings.py" in include:
        made = package(folder, "night.yaml", {"job": "ocr_backfill"}, include=include)
        assert "my_jobs/settings.py" in made.files
        return
    with pytest.raises(ConfigError) as caught:  # a folder above it is not enough
        package(folder, "night.yaml", {"job": "ocr_backfill"}, include=include)
    assert "my_jobs/settings.py: line 2 looks like a GitHub token" in caught.value.message
    assert token not in caught.value.message


def test_a_link_is_judged_by_its_target(repository: Path, tmp_path_factory: Any) -> None:
    outside = tmp_path_factory.mktemp("home") / ".aws" / "config"
    outside.parent.mkdir()
    outside.write_text("[default]")
    (repository / "settings.ini").symlink_to(outside)
    subprocess.run(["git", "-C", repository, "add", "settings.ini"], check=True)
    with pytest.raises(ConfigError, match=r"settings.ini: '.aws' is a name of secrets"):
        packed(repository)


@pytest.mark.parametrize("name", ["no/such.txt", "../elsewhere", "/etc/hostname"])
def test_only_files_of_the_folder_can_be_included(folder: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"--include {name}: no such file or folder"):
        package(folder, "night.yaml", {"job": "ocr_backfill"}, include=[name])


def test_a_repository_that_git_does_not_open_is_not_taken_for_a_plain_folder(
    repository: Path,
) -> None:
    (repository / ".git/config").write_text("[core\n")
    with pytest.raises(ConfigError, match="git does not say which files"):
        packed(repository)


def test_a_file_that_the_config_names_goes_even_from_an_output_folder(folder: Path) -> None:
    (folder / "runs/last/calibration.json").write_text("{}")
    made = packed(folder, routing={"calibrations": ["runs/last/calibration.json"]})
    assert "runs/last/calibration.json" in made.files


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
