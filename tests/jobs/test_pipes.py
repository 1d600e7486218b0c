"""A command whose reader has left (`nightjar ... | head -1`) ends with 141 and no traceback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import IO

import pytest
from conftest import nightjar_argv

NO_READER = 141


def closed_pipe() -> IO[bytes]:
    """The writing end of a pipe that nobody reads."""
    theirs, ours = os.pipe()
    os.close(theirs)
    return os.fdopen(ours, "wb")


@pytest.mark.parametrize("arguments", [("config", "schema"), ("--help",), ("engines",)])
def test_a_closed_stdout(arguments: tuple[str, ...]) -> None:
    with closed_pipe() as out:
        done = subprocess.run(nightjar_argv(*arguments), stdout=out, stderr=subprocess.PIPE)
    assert done.stderr == b""
    assert done.returncode == NO_READER


def test_a_closed_stderr(tmp_path: Path) -> None:
    with closed_pipe() as err:
        argv = nightjar_argv("show", tmp_path / "none")
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=err)
    assert done.stdout == b""
    assert done.returncode == NO_READER


def test_a_reader_of_one_line() -> None:
    with subprocess.Popen(
        nightjar_argv("config", "schema"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"{\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == NO_READER
