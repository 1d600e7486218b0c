"""Relative links of every Markdown page lead to an existing file and heading."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import REPOSITORY

#: Folders that git ignores.
_OUTPUTS = frozenset({"runs", "build"})
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def pages() -> list[str]:
    folders = [f for f in sorted(REPOSITORY.iterdir()) if f.is_dir() and f.name[0] != "."]
    found = [*REPOSITORY.glob("*.md")]
    found += [page for f in folders if f.name not in _OUTPUTS for page in f.rglob("*.md")]
    return sorted(str(page.relative_to(REPOSITORY)) for page in found)


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = [re.sub(r"[`*]|\[|\]\([^)]*\)", "", one) for one in _HEADING.findall(text)]
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", pages())
def test_every_relative_link_leads_somewhere(page: str) -> None:
    text = _CODE.sub("", (REPOSITORY / page).read_text())
    for link in _LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (REPOSITORY / page).parent / name if name else REPOSITORY / page
        assert target.exists(), f"{page}: no {link}"
        if anchor:
            assert anchor in anchors(target), f"{page}: no heading for {link}"
