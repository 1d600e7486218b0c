"""Writes docs/reference/ from the code: `.venv/bin/python docs/reference.py [--check]`.

--check writes nothing and exits 1 if a file is missing or stale.
"""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]

from generator import columns, commands, config_keys  # noqa: E402

FOLDER = DOCS / "reference"


def pages() -> dict[str, str]:
    """File name -> text of each page."""
    return {
        "columns-ocr-backfill.md": columns.page("ocr_backfill"),
        "columns-autolabel.md": columns.page("autolabel"),
        "config-ocr-backfill.md": config_keys.page("ocr_backfill"),
        "config-autolabel.md": config_keys.page("autolabel"),
        "cli.md": commands.page(),
    }


def stale() -> list[str]:
    """Names of files in FOLDER that are missing, out of date or no longer made."""
    made = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    return sorted(name for name in {*made, *there} if made.get(name) != there.get(name))


def main(arguments: list[str]) -> int:
    """Write the pages, or check them; returns the exit code."""
    if arguments == ["--check"]:
        names = stale()
        for name in names:
            print(f"{FOLDER / name} is stale: run python docs/reference.py", file=sys.stderr)
        return 1 if names else 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
