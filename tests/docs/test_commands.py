"""The commands in README and docs work as printed.

A block whose info string is `sh check` is executed, command by command, in a folder with `configs/`
and both finished quickstart runs. Of any other `sh` block each `nightjar` command and option must
exist.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import REPOSITORY, Ended, in_this_process

from jobs import cli

_BLOCK = re.compile(r"^```sh( check)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "infra/README.md",
    "benchmarks/README.md",
    *sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")),
]


def commands(page: str, *, checked: bool) -> list[str]:
    """The commands of a page's blocks, without comments, continued lines joined."""
    found = []
    for check, block in _BLOCK.findall((REPOSITORY / page).read_text()):
        if bool(check) == checked:
            lines = block.replace("\\\n", " ").splitlines()
            found += [line for line in lines if line.strip() and not line.startswith("#")]
    return found


@pytest.fixture
def folder(ocr_quickstart: Path, labelling_quickstart: Path, tmp_path: Path) -> Path:
    """A copy of both runs that a page's commands may change, and `configs`."""
    for run in (ocr_quickstart, labelling_quickstart):
        shutil.copytree(run, tmp_path / "work" / "runs" / run.name)
    (tmp_path / "work" / "configs").symlink_to(REPOSITORY / "configs")
    return tmp_path / "work"


def done(command: str, folder: Path) -> Ended:
    """A command of a page; `nightjar` in this process, which saves the 4 s of its imports."""
    words = shlex.split(command)
    if words[0] == "nightjar" and not {"|", "&&", ">"} & set(words):
        return in_this_process(folder, *words[1:])
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ended = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"PATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize("page", [page for page in _PAGES if commands(page, checked=True)])
def test_the_commands_of_a_page_work_one_after_the_other(page: str, folder: Path) -> None:
    for command in commands(page, checked=True):
        if command == "nightjar engines":  # takes 16 s; test_engines_command.py executes it
            continue
        ended = done(command, folder)
        assert ended.code == 0, f"{page}: {command}\n{ended.out}\n{ended.err}"


def nightjar_commands() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of every `nightjar` command that stands anywhere in an `sh` block."""
    for page in _PAGES:
        for line in [*commands(page, checked=True), *commands(page, checked=False)]:
            words = shlex.split(line, comments=True)
            for place, word in enumerate(words):
                before = words[place - 1] if place else "&&"
                starts = before in ("&&", "|", ";", "--") or re.match(r"[A-Z_]+=", before)
                if starts and word in ("nightjar", ".venv/bin/nightjar"):
                    end = next((i for i, w in enumerate(words) if i > place and w in "|&&>;"), None)
                    yield page, words[place + 1 : end]


def unknown_words(words: list[str]) -> list[str]:
    """Subcommands and options among `words` that `nightjar` does not have."""
    command: Any = typer.main.get_command(cli.app)
    rest = list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name not in command.commands and "RUN" in command.commands:
            name = "RUN"  # `curate RUN` beside `curate pull NAME`
        if name not in command.commands:
            return [name]
        command = command.commands[name]
    if command.name == "bench":
        return []  # its options are the benchmark's
    known = {"--help", "-h", *(name for one in command.params for name in one.opts)}
    known |= {name for one in command.params for name in one.secondary_opts}
    given = [word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)]
    return [word for word in given if word not in known]


def test_every_command_and_option_exists() -> None:
    seen = list(nightjar_commands())
    assert len(seen) > 10
    wrong = [(page, words, bad) for page, words in seen if (bad := unknown_words(words))]
    assert not wrong


def test_unknown_commands_and_options_are_found() -> None:
    assert unknown_words(["pla", "config.yaml"]) == ["pla"]
    assert unknown_words(["run", "config.yaml", "--sett", "a=b"]) == ["--sett"]
    assert unknown_words(["review", "export", "RUN", "queue/", "--limit=3", "--nothing"])[-1] == (
        "--nothing"
    )
