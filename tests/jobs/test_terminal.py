"""Paths, names and errors are printed as they are: no markup, no codes for the terminal."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY, Ended, write_config
from rich.json import JSON
from rich.table import Table
from rich.text import Text

from jobs.console.terminal import Terminal, marked, one_line, visible

OLD = Path(__file__).parents[1] / "resources" / "old_runs"
#: Markup that rich would take for a style, and that it would refuse.
MARKUP = "run [bold]x[/nothing] :smile:"
HOSTILE = "/scans/a\x1b[31m\x07b\x9bc\n[red]d[/].png"
SHOWN = r"/scans/a\x1b[31m\x07b\x9bc\n[red]d[/].png"

Command = Callable[..., Ended]


@pytest.fixture(params=[False, True], ids=["a file", "a terminal"])
def terminal(request: pytest.FixtureRequest) -> Terminal:
    return Terminal(file=io.StringIO(), width=200, force_terminal=request.param, color_system=None)


def printed(terminal: Terminal) -> str:
    assert isinstance(terminal.file, io.StringIO)
    return terminal.file.getvalue()


def test_whatever_is_printed_is_literal(terminal: Terminal) -> None:
    table = Table(MARKUP, title=MARKUP)
    table.add_row(one_line(HOSTILE))
    things = (MARKUP, HOSTILE, Text(HOSTILE), JSON('"\\u009b[31m"'), table)
    for thing in things:
        terminal.print(thing)
    marked(terminal, "Warning", MARKUP + HOSTILE)
    text = printed(terminal)
    assert text.count(MARKUP) == 4
    assert SHOWN in text
    assert text.count(r"\x1b[31m\x07b\x9bc") == 3
    assert r"\x1b[31mb\x9bc" in text, "rich's Text drops a bell itself"
    assert not set(text) & {"\x1b", "\x07", "\x9b"}


def test_lines_and_tabs_of_messages_stay_and_hidden_signs_are_shown() -> None:
    assert visible("one\n\ttwo\r") == "one\n\ttwo\\x0d"
    assert visible("\u202egpj.exe") == r"\u202egpj.exe"
    assert visible("caf\xe9 \udcff") == r"café \udcff"
    assert one_line("a\nb\tc") == r"a\nb\tc"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs whose folder looks like markup; failed rows of the first have hostile names."""
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    folder = tmp_path / MARKUP
    for name in ("pages", "labels"):
        shutil.copytree(OLD / name, folder / name)
    for path in (folder / "pages").glob("shards/*.parquet"):
        table = pq.read_table(path)
        failed = [row["outcome"] == "failed" for row in table.to_pylist()]
        uris = [
            HOSTILE + str(n) if bad else uri
            for n, (uri, bad) in enumerate(zip(table["uri"].to_pylist(), failed, strict=True))
        ]
        place = table.schema.get_field_index("uri")
        field = table.schema.field("uri")
        pq.write_table(table.set_column(place, field, [pa.array(uris)]), path)
    return folder


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "pages"), "failed pages only: "),
        (("show", "labels"), "failed images only: "),
        (("report", "pages", "--samples", "2"), "report.html"),
        (("export", "pages", "out/text"), SHOWN),
        (("export", "pages", "out/text", "--dry-run"), "nothing was written"),
        (("export", "labels", "out/coco"), "labels: "),
        (("diff", "pages", "pages", "--out", "out/diff.jsonl"), "written: "),
        (("review", "export", "pages", "out/queue"), "review import "),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_a_run_in_a_folder_with_markup(
    command: Command, runs: Path, arguments: tuple[str, ...], told: str
) -> None:
    (runs / "out").mkdir()
    words = [
        str(runs / word) if word.split("/")[0] in ("pages", "labels", "out") else word
        for word in arguments
    ]
    ended = command(*words)
    assert ended.code == 0, ended.err
    assert told in ended.out
    assert MARKUP in ended.out.replace("\n", "")
    assert not set(ended.out) & {"\x1b", "\x07", "\x9b"}


def test_errors_name_paths_and_values_literally(command: Command, tmp_path: Path) -> None:
    missing = command("show", tmp_path / MARKUP)
    assert (missing.code, MARKUP in missing.err) == (9, True)
    config = write_config(tmp_path, tmp_path, fetch={"[red]dpi[/]": 1, "a\x1b[31m": 2})
    refused = command("config", "check", config)
    assert refused.code == 2
    assert "fetch.[red]dpi[/]: unknown key" in refused.err
    assert r"a\x1b[31m" in refused.err
    assert "\x1b" not in refused.err
