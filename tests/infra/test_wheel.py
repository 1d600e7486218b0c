"""The wheel is complete: it runs in an environment of its own, outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY

UV = str(Path(sys.executable).with_name("uv"))
_TOPS = ("actors", "pipelines", "jobs")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # setuptools leaves build/ and egg-info where it builds
    archive = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *_TOPS],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    for name in [*filter(None, archive.stdout.decode().split("\0")), "pyproject.toml", "README.md"]:
        if (REPOSITORY / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    subprocess.run([UV, "build", "--quiet", "--wheel", "-o", folder, source], check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_every_module_and_template_is_in_it(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        str(path.relative_to(REPOSITORY))
        for top in _TOPS
        for path in (REPOSITORY / top).rglob("*")
        if path.suffix in (".py", ".j2", ".css", ".js", ".npz") and "__pycache__" not in path.parts
    }
    assert len(modules) > 300
    assert modules - inside == set()
    assert not {name for name in inside if name.startswith(("tests/", "benchmarks/", "docs/"))}


@pytest.mark.long
def test_it_runs_both_quickstarts_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    python = tmp_path / "env/bin/python"
    into = ["--quiet", "--python", str(python), "--no-deps"]
    lock = str(REPOSITORY / "requirements.lock")
    subprocess.run(
        [UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "env"], check=True
    )
    subprocess.run([UV, "pip", "install", *into, "-r", lock], check=True)
    subprocess.run([UV, "pip", "install", *into, wheel], check=True)
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    apart = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for job in ("ocr_backfill", "autolabel"):
        done = subprocess.run(
            [python.with_name("nightjar"), "run", f"configs/{job}/quickstart.yaml", "--report"],
            cwd=tmp_path,
            env=apart,
            capture_output=True,
            text=True,
            timeout=580,
        )
        assert done.returncode == 0, done.stderr
        assert "19 of 19" in done.stdout
    found = subprocess.run(
        [python, "-c", "import pipelines; print(pipelines.__file__)"],
        cwd=tmp_path,
        env=apart,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith(str(tmp_path))
    assert (tmp_path / "runs/autolabel_quickstart/report.html").stat().st_size > 50_000
