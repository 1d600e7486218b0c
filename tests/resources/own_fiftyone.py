"""FiftyOne on a MongoDB of this test session: nothing of the user's is read or written.

A pytest plugin: ``pytest_plugins = ["own_fiftyone"]``. Processes that a test starts inherit the
environment and use the same database.

The mongod is FiftyOne's own, but started here: FiftyOne joins whatever database process of this
user it finds first, in whatever folder that works, and keeps it alive.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import nightjar_argv

NOT_INSTALLED = "fiftyone is not installed: pip install 'nightjar[curate]'"


@pytest.fixture(scope="session")
def fo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The module fiftyone, connected."""
    spec = importlib.util.find_spec("fiftyone")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        pytest.skip(NOT_INSTALLED)
    program = Path(folders[0]) / "db" / "bin" / "mongod"
    if not program.is_file():
        pytest.skip(f"fiftyone is installed without its MongoDB: no {program}")
    home = tmp_path_factory.mktemp("fiftyone")
    with mongod(program, home) as uri:
        ours = {
            "FIFTYONE_DATABASE_URI": uri,
            "FIFTYONE_DATABASE_DIR": str(home / "unused"),
            "FIFTYONE_DEFAULT_DATASET_DIR": str(home / "datasets"),
            "FIFTYONE_PLUGINS_DIR": str(home / "plugins"),
            "FIFTYONE_CONFIG_PATH": str(home / "config.json"),
            "FIFTYONE_APP_CONFIG_PATH": str(home / "app_config.json"),
            "FIFTYONE_DO_NOT_TRACK": "true",
        }
        with pytest.MonkeyPatch.context() as patch:
            for name in [one for one in os.environ if one.startswith("FIFTYONE_")]:
                patch.delenv(name)
            for name, value in ours.items():
                patch.setenv(name, value)
            yield connected(uri)
            disconnect()


@contextmanager
def mongod(program: Path, home: Path) -> Iterator[str]:
    """The address of a MongoDB that is gone with the block."""
    folder = home / "mongo"
    folder.mkdir()
    port = free_port()
    command = [program, "--dbpath", folder, "--logpath", folder / "log", "--nounixsocket"]
    server = subprocess.Popen(
        [*map(str, command), "--bind_ip", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            assert server.poll() is None, (folder / "log").read_text()[-2000:]
            time.sleep(0.1)
        yield f"mongodb://127.0.0.1:{port}"
    finally:
        server.terminate()
        assert server.wait(30) == 0


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Served:
    """`nightjar app` at work. `said`: what it printed first."""

    process: subprocess.Popen[str]
    port: int
    said: str

    @property
    def address(self) -> str:
        return next(word for word in self.said.split() if word.startswith("http://"))

    def stopped(self) -> str:
        """Press Ctrl-C; what it says then."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=30)[0]


@contextmanager
def app_process(name: str, folder: Path) -> Iterator[Served]:
    """`nightjar app NAME` as a process of its own, once it is served; gone with the block."""
    port = free_port()
    argv = nightjar_argv("app", name, "--port", str(port))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            assert process.stdout is not None
            said = ""
            while not said.endswith("Ctrl-C stops it.\n"):
                line = process.stdout.readline()
                assert line, f"the app ended: {said}"
                said += line
            yield Served(process, port, said)
        finally:
            process.kill()


def connected(uri: str) -> Any:
    """FiftyOne, imported for the first time in this process."""
    fiftyone = pytest.importorskip("fiftyone", reason=NOT_INSTALLED)
    assert fiftyone.config.database_uri == uri, "fiftyone was imported before this"
    fiftyone.config.show_progress_bars = False
    assert fiftyone.list_datasets() == []
    return fiftyone


def disconnect() -> None:
    """Or the process waits for its database when it ends."""
    from fiftyone.core.odm import database

    database._disconnect()
