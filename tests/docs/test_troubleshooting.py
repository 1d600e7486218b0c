"""docs/troubleshooting.md covers all exit codes, outcomes, reasons and failure kinds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from actors.escalation.vlm import Vlm
from actors.failures import FailureKind
from pipelines import errors
from pipelines.decisions.reasons import PageReason, VlmReason, of_vlm_failure
from pipelines.decisions.routing import PageOutcome
from pipelines.decisions.triage import ImageOutcome, Reason

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """What stands below a heading of level two."""
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert found, f"no section {title}"
    return found[1]


def named(title: str) -> set[str]:
    """The names in code in the tables of a section, outside of their last two columns."""
    rows = [line.split("|") for line in section(title).splitlines() if line.startswith("|")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", "|".join(row[1:3]))}


def classes(error: type[errors.NightjarError]) -> Iterable[type[errors.NightjarError]]:
    """An error and all below it."""
    yield error
    for below in error.__subclasses__():
        yield from classes(below)


def exit_codes() -> dict[str, int]:
    """Name -> exit code of each error of `pipelines.errors`."""
    return {
        one.__name__: one.exit_code
        for one in classes(errors.NightjarError)
        if one.__module__ == errors.__name__ and one is not errors.NightjarError
    }


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Failure kinds", FailureKind),
        ("Outcomes", [*PageOutcome, *ImageOutcome]),
        ("Reasons of pages", [*PageReason, *VlmReason]),
        ("Reasons of images", Reason),
    ],
)
def test_every_name_has_a_row_and_every_row_a_name(title: str, names: Iterable[str]) -> None:
    wanted = {str(name.value) for name in names}
    assert wanted <= named(title), f"not in the page: {wanted - named(title)}"
    rest = named(title) - wanted
    if title == "Failure kinds":
        rest = {name for name in rest if name.isupper()}
    if title == "Reasons of pages":
        rest -= {of_vlm_failure(kind) for kind in FailureKind}
    known = {"mode: regions", "vlm_", "detector.min_score"}
    assert not {name for name in rest - known if "." not in name}, "of no use any longer"


def test_every_failure_of_the_fallback_is_a_reason() -> None:
    of_a_vlm = [kind for kind in FailureKind if kind.startswith("VLM_")]
    others = [FailureKind.CORRUPT_IMAGE, FailureKind.ENGINE_FAULT, FailureKind.ENGINE_CRASH]
    assert "CORRUPT_IMAGE or ENGINE_FAULT" in (Vlm.__doc__ or "")
    for kind in [*of_a_vlm, *others]:
        assert of_vlm_failure(kind) in named("Reasons of pages")


def test_every_exit_code_stands_beside_its_errors() -> None:
    rows = section("Exit codes").splitlines()
    for name, code in exit_codes().items():
        assert any(row.startswith(f"| `{code}` |") and f"`{name}`" in row for row in rows), name
    codes = {int(code) for code in re.findall(r"^\| `(\d+)` \|", section("Exit codes"), re.M)}
    assert codes == {0, 1, 130, *exit_codes().values()}


def test_decisions_write_reasons_by_name_only() -> None:
    """A literal reason beside the enums would be missing from the page without a word."""
    for module in ("routing", "escalation", "settling"):
        source = (ROOT / "pipelines" / "decisions" / f"{module}.py").read_text(encoding="utf-8")
        loose = {*re.findall(r'"([a-z]+_[a-z_]+)"', source)} & {*PageReason, *VlmReason}
        assert not loose, f"{module}.py: {loose}"
        assert not re.search(r'append\("|return \["', source), module


def test_every_link_within_the_page_has_its_heading() -> None:
    anchors = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", PAGE, re.M)
    }
    assert {*re.findall(r"\]\(#([^)]+)\)", PAGE)} <= anchors
