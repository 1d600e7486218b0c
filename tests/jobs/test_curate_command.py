"""`nightjar curate` and `nightjar app` as people meet them."""

from __future__ import annotations

import importlib
import inspect
import io
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import Ended, nightjar_argv
from hand_made_runs import IMAGES, label, picture, stored, write_run
from own_fiftyone import app_process, free_port
from rich.console import Console
from typer.testing import CliRunner

from jobs.cli import app
from jobs.commands.curate import build, open_app, pull
from pipelines.curation.dataset import fiftyone
from pipelines.errors import ConfigError, RunNotFound
from pipelines.runs.directory import RunDir

pytest_plugins = ["own_fiftyone"]

Command = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Called `run`, as people call theirs: no word of the command may be in its way."""
    found = [label("red star", (10, 20, 50, 60))]
    rows = [
        stored(number, picture(tmp_path / f"{number}.jpg"), instances=found, outcome=outcome)
        for number, outcome in enumerate(("accepted", "review", "review"), start=1)
    ]
    return write_run(tmp_path / "run", "autolabel", IMAGES, rows)


@pytest.fixture
def named(fo: Any) -> Iterator[str]:
    yield "command"
    for name in ("command", "run"):
        if fo.dataset_exists(name):
            fo.delete_dataset(name)


def test_a_run_goes_out_is_corrected_and_comes_back(
    fo: Any, named: str, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = CliRunner().invoke(app, ["curate", "run", "--only", "review"])
    assert out.exit_code == 0, out.exception
    assert "2 rows: dataset run" in out.output
    assert "nightjar curate pull run" in out.output
    dataset = fo.load_dataset("run")
    dataset.match(fo.ViewField("row_id") == "3").tag_samples("accept")
    back = CliRunner().invoke(app, ["curate", "pull", "run", "--reviewer", "Ada"])
    assert back.exit_code == 0, back.exception
    assert "run: 1 of 2 samples reviewed" in back.output
    (file,) = (tmp_path / "run" / "reviewed").iterdir()
    rows = pq.read_table(file).select(["row_id", "verdict", "reviewer"]).to_pylist()
    assert rows == [{"row_id": 3, "verdict": "accept", "reviewer": "Ada"}]


def test_the_notice_about_mongodb_is_not_shown(fo: Any, caplog: pytest.LogCaptureFixture) -> None:
    database = importlib.import_module("fiftyone.core.odm.database")
    notice = "You are running the oldest supported major version of MongoDB."
    assert notice.partition("the ")[2] in inspect.getsource(database), "FiftyOne says it otherwise"
    fiftyone()
    for message in (notice, "Your MongoDB server version is newer than your feature"):
        database.logger.warning(message)
    assert [record.getMessage()[:19] for record in caplog.records] == ["Your MongoDB server"]


def test_the_summary_says_what_was_done(fo: Any, named: str, run: RunDir) -> None:
    console = Console(record=True, width=120, force_terminal=False)
    build(console, run.path, named, [], "local", None)
    sample = fo.load_dataset(named).first()
    sample.tags.append("reject")
    sample.save()
    (run.path.parent / "2.jpg").unlink()
    build(console, run.path, named, ["accepted"], "local", None)
    build(console, run.path, named, ["review"], "local", None)
    pull(console, named, None, "Ada")
    pull(console, named, run.path, "Ada")
    said = " ".join(console.export_text().split())
    assert "new 3 changed 0 unchanged 0" in said
    assert "new 0 changed 0 unchanged 1" in said
    assert "new 0 changed 1 unchanged 1 without a picture: OBJECT_MISSING 1" in said
    assert "reject 1 new 1 replace an earlier answer 0" in said
    assert "known already 1 nothing new; no file written" in said


def test_a_terminal_gets_a_bar_with_rate(fo: Any, named: str, run: RunDir) -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=120, force_terminal=True)
    build(console, run.path, named, [], "local", None)
    assert "3/3" in shown.getvalue()
    assert "rows/s, ETA 0 s" in shown.getvalue()


def test_help_names_both_ways_and_imports_nothing_heavy() -> None:
    both = CliRunner().invoke(app, ["curate", "--help"])
    assert both.exit_code == 0
    assert "curate [OPTIONS] RUN [OPTIONS] | pull NAME [OPTIONS]" in usage(both.output)
    assert re.search(r"RUN +Build a FiftyOne dataset", both.output)
    build_help = CliRunner().invoke(app, ["curate", "some/run", "--help"])
    assert "curate [OPTIONS] {RUN}" in usage(build_help.output)
    pull_help = CliRunner().invoke(app, ["curate", "pull", "-h"])
    assert "curate pull [OPTIONS] {name}" in usage(pull_help.output)
    heavy = ("fiftyone", "pyarrow", "numpy")
    lean = f"import sys, jobs.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([nightjar_argv()[0], "-c", lean], capture_output=True, text=True)
    assert done.stdout == "[]\n"


def usage(shown: str) -> str:
    return " ".join(next(line for line in shown.splitlines() if "Usage:" in line).split())


def test_without_fiftyone_the_command_says_what_to_install(
    nightjar: Command, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none").mkdir()
    broken = tmp_path / "none" / "fiftyone.py"
    broken.write_text("raise ModuleNotFoundError(\"No module named 'fiftyone'\")\n")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    ended = nightjar("curate", "run")
    assert ended.code == 2, ended.err
    assert "cannot import fiftyone" in ended.err
    assert "pip install 'nightjar[curate]'" in ended.err
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    console = Console(file=io.StringIO())
    with pytest.raises(ConfigError, match="cannot import fiftyone"):
        pull(console, "run", None, None)
    with pytest.raises(ConfigError, match="cannot import fiftyone"):
        open_app(console, "run", free_port())


def test_wrong_words_are_refused_before_fiftyone_starts(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    wrong = CliRunner().invoke(app, ["curate", str(run.path), "--media", "everywhere"])
    assert (wrong.exit_code, "'everywhere' is not one of" in wrong.output) == (2, True)
    with pytest.raises(ConfigError, match="no outcome 'revue'"):
        CliRunner().invoke(
            app, ["curate", str(run.path), "--only", "revue"], catch_exceptions=False
        )
    with pytest.raises(RunNotFound):
        CliRunner().invoke(app, ["curate", "nowhere"], catch_exceptions=False)


@pytest.mark.long
def test_the_app_is_served_on_loopback_until_stopped(
    fo: Any, named: str, run: RunDir, tmp_path: Path
) -> None:
    console = Console(file=io.StringIO())
    build(console, run.path, named, [], "local", None)
    with app_process(named, tmp_path) as served:
        address = f"http://127.0.0.1:{served.port}/datasets/{named}"
        assert f"3 samples: {address}" in served.said
        answered(address)
        with pytest.raises(ConfigError, match=f"port {served.port} is in use"):
            open_app(console, named, served.port)
        rest = served.stopped()
    assert served.process.returncode == 0
    assert "MongoDB" not in served.said + rest
    assert f"Stopped. To pull corrections back: nightjar curate pull {named}" in rest
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{served.port}/", timeout=5)


def answered(address: str) -> None:
    """Wait for a page that FiftyOne's server sends."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as reply:
                assert b"FiftyOne" in reply.read()
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
