"""FiftyOne with a MongoDB of this test session: nothing of the user's is read or written.

A pytest plugin: ``pytest_plugins = ["own_fiftyone"]``. Processes that a test starts inherit the
environment and use the same database.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

NOT_INSTALLED = "fiftyone is not installed: pip install 'nightjar[curate]'"


@pytest.fixture(scope="session")
def fo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The module fiftyone, connected; its mongod is gone at the end."""
    home = tmp_path_factory.mktemp("fiftyone")
    database = home / "mongo"
    ours = {
        "FIFTYONE_DATABASE_DIR": str(database),
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
        module = pytest.importorskip("fiftyone", reason=NOT_INSTALLED)
        module.config.show_progress_bars = False
        assert module.config.database_dir == str(database), "fiftyone was imported before this"
        module.list_datasets()
        assert mongods(database)
        yield module
        stop(database)


def stop(database: Path) -> None:
    """Let go of the database and wait until it is gone."""
    from fiftyone.core.odm import database as connection

    connection._disconnect()
    connection._db_service.stop()
    os.environ.pop("FIFTYONE_PRIVATE_DATABASE_PORT", None)
    deadline = time.monotonic() + 30
    while mongods(database) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not mongods(database)


def mongods(database: Path) -> list[int]:
    """Process ids of the mongod that works in this folder."""
    return [
        process.pid
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "mongod" and str(database) in (process.info["cmdline"] or ())
    ]
