"""Ctrl-C, SIGTERM and SIGHUP end a real run: what is in flight is kept, and no process is left."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from bad_files import many_pages
from conftest import nightjar_argv, write_config
from nights import Night

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
STOPPED = "What is committed is kept; the same command goes on."
#: While the command still imports its modules, no run has begun.
STOPPED_BEFORE = "Stopped. Start the same command again to go on."


def slow_pages(folder: Path, source: Path, pages: int) -> Path:
    """A config of `doubles.slow_job`: one worker, 0.1 s a row."""
    many_pages(source, pages)
    config = {
        "job": "doubles.slow_job:JOB",
        "run_dir": str(folder / "run"),
        "source": {"path": str(source)},
        "sink": {"rows_per_shard": 8, "flush_seconds": 1.0},
        "ray": {"object_store_mb": 100},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def left_of(session: int, tree: Sequence[psutil.Process]) -> list[str]:
    """The processes of a session or a tree that are not over."""
    left = []
    for one in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            known = one in tree or os.getsid(one.pid) == session
            if known and one.status() != psutil.STATUS_ZOMBIE:
                left.append(f"{one.pid} {one.name()}")
    return left


def stop(night: Night, process: subprocess.Popen[bytes], *signals: int, pause_s: float) -> None:
    """Send the signals to the driver alone, and check how the run ends."""
    tree = psutil.Process(process.pid).children(recursive=True)
    before = night.log.read_text()
    for number in signals:
        if process.poll() is None:
            process.send_signal(number)
        time.sleep(pause_s)
    assert process.wait(timeout=120) == 130, night.log.read_text()[-3000:]
    psutil.wait_procs(tree, timeout=10)
    assert left_of(process.pid, tree) == []
    said = night.log.read_text().removeprefix(before)
    # Of signals that arrive at once, Python handles the one with the lowest number first.
    names = {signal.Signals(number).name for number in signals}
    messages = [f"Stopped by {name}. {STOPPED}" for name in names] + [STOPPED_BEFORE]
    assert sum(said.count(message) for message in messages) == 1, said
    assert "Traceback" not in said


def sessions(night: Night) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((night.run / "run.json").read_text())["sessions"]
    return found


def hears(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has a handler for SIGTERM; until then Python is still starting."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (TERM - 1) & 1)


def raylet_of(process: subprocess.Popen[bytes]) -> bool:
    with suppress(psutil.Error):
        return any(one.name() == "raylet" for one in psutil.Process(process.pid).children())
    return False


@pytest.mark.timeout(600)
def test_a_run_finishes_what_is_in_flight_and_goes_on(tmp_path: Path) -> None:
    night = Night(tmp_path, slow_pages, pages=300)
    process = night.start()
    night.wait_for(12, process)
    stop(night, process, INT, pause_s=0)
    assert "Stopping: finishing" in night.log.read_text()
    (last,), written = sessions(night), night.written()
    assert last["stopped"] == "SIGINT"
    assert last["rows"] == len(written)
    assert last["stages"]["slow_reader"]["rows"] == len(written), "what was read is committed"
    quickened(night)
    night.finish()
    night.assert_exactly_once()
    assert "stopped" not in sessions(night)[-1]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_run_is_stopped_while_ray_starts_and_three_times_in_the_middle(tmp_path: Path) -> None:
    night = Night(tmp_path, slow_pages, pages=800)
    process = night.start()
    while process.poll() is None and not raylet_of(process):
        time.sleep(0.02)
    stop(night, process, TERM, pause_s=0)
    process = night.start()
    night.wait_for(12, process)
    stop(night, process, INT, INT, INT, pause_s=0.3)
    assert [one["stopped"] for one in sessions(night)] == ["SIGTERM", "SIGINT"]
    quickened(night)
    night.finish()
    night.assert_exactly_once()


def quickened(night: Night) -> None:
    """The rest of the night takes no time."""
    config = yaml.safe_load(night.config.read_text()) | {"reader": {"seconds": 0}}
    night.config.write_text(yaml.safe_dump(config))


def random_signals(chance: random.Random) -> tuple[list[int], float]:
    """One to three signals, and the seconds between them."""
    count = chance.choice([1, 1, 2, 3])
    return [chance.choice([INT, TERM, HUP]) for _ in range(count)], chance.choice([0, 0.3, 1.5])


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", [16, 17])
def test_ten_stops_at_random_moments(tmp_path: Path, seed: int) -> None:
    night = Night(tmp_path, slow_pages, pages=2000)
    chance = random.Random(seed)
    for _ in range(10):
        process = night.start()
        while process.poll() is None and not hears(process):
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 25.0))
        signals, pause_s = random_signals(chance)
        assert process.poll() is None, "the night was over before its last signal"
        stop(night, process, *signals, pause_s=pause_s)
    quickened(night)
    night.finish()
    night.assert_exactly_once()


@pytest.mark.parametrize("number", [INT, HUP])
def test_a_signal_while_the_source_is_listed(tmp_path: Path, number: int) -> None:
    """No Ray runs yet, and no row is planned. The store takes the request and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as store:
        url = f"http://127.0.0.1:{store.getsockname()[1]}"
        storage = {"endpoint_url": url, "anonymous": True}
        config = write_config(tmp_path, "s3://scans/", fetch={"storage": storage})
        process = subprocess.Popen(
            nightjar_argv("run", config), stderr=subprocess.PIPE, start_new_session=True, text=True
        )
        store.settimeout(60)
        connection, _ = store.accept()
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        connection.close()
    assert process.returncode == 130
    assert f"Stopped by {signal.Signals(number).name}. {STOPPED}" in said
    assert left_of(process.pid, []) == []


@pytest.mark.parametrize("number", [INT, TERM, HUP])
def test_a_signal_while_python_ends_does_not_change_the_exit_code(number: int) -> None:
    code = (
        "import os\n"
        "from jobs.console.signals import end_interrupted, interrupt_on_signals\n"
        "class Last:\n"
        "    def __del__(self, kill=os.kill, me=os.getpid()):\n"
        f"        kill(me, {int(number)})\n"
        "last = Last()\n"
        "interrupt_on_signals()\n"
        "end_interrupted()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, f"{STOPPED_BEFORE}\n")


@pytest.mark.parametrize("number", [INT, TERM, HUP])
def test_a_second_signal_ends_a_command_that_handles_the_first(number: int) -> None:
    code = (
        "import os, signal\n"
        "from jobs.console.signals import interrupt_on_signals\n"
        "interrupt_on_signals()\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "finally:\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, f"{STOPPED_BEFORE}\n")


def test_nohup_is_respected_and_a_background_job_hears_ctrl_c() -> None:
    """A shell ignores SIGINT for `COMMAND &`; nohup ignores SIGHUP."""
    probe = (
        "import signal\n"
        "from jobs.console.signals import stop_on_signals\n"
        "for one in (signal.SIGINT, signal.SIGHUP): signal.signal(one, signal.SIG_IGN)\n"
        "stop_on_signals()\n"
        "print(*(signal.getsignal(n) is signal.SIG_IGN for n in (signal.SIGINT, signal.SIGHUP)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_run_whose_store_is_gone_stops_and_its_rows_stay_open(tmp_path: Path) -> None:
    night = Night(tmp_path, slow_pages, pages=200)
    gone = tmp_path / "gone"
    gone.touch()
    config = yaml.safe_load(night.config.read_text())
    config |= {"reader": {"seconds": 0.01, "gone": str(gone)}}
    night.config.write_text(yaml.safe_dump(config))
    process = night.start()
    assert process.wait(timeout=200) == 10, night.log.read_text()[-3000:]
    said = night.log.read_text()
    assert "50 of the last 200 rows failed with STORAGE_ERROR (read_failure)" in said
    assert "503 Slow Down" in said
    assert "--retry-failed STORAGE_ERROR" in said
    assert sessions(night)[-1]["stopped"] == "TooManyFailures"
    failed = len(night.written())
    assert failed < 50, "those of the last shard are not committed"
    gone.unlink()
    night.finish()
    night.assert_exactly_once()
