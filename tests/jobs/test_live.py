"""What the display says of failed rows, and after a signal."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from jobs.console.live import RunView
from pipelines.engine.progress import Committed, Progress


def shown(view_of: Progress) -> str:
    """What a console that is no terminal gets."""
    out = io.StringIO()
    RunView(Console(file=out, width=200), "page")(view_of)
    return out.getvalue()


@pytest.mark.parametrize(
    ("failed", "said"), [(0, False), (9, False), (10, True), (300, True)], ids=str
)
def test_a_share_of_failures_is_named_from_one_percent_on(failed: int, said: bool) -> None:
    committed = Committed(rows=1000, outcomes=Counter(ocr=1000 - failed, failed=failed))
    line = shown(Progress(2000, 0, ("fetch",), committed=committed))
    assert "1,000 committed" in line
    assert (f"{failed / 10:.1f}% failed" in line) == said


def test_the_first_signal_is_answered_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(2000, 0, ("fetch",), finishing=1234)
    view = RunView(Console(file=io.StringIO()), "page")
    view(progress)
    view(progress)
    said = "Stopping: finishing 1,234 pages in flight; press Ctrl-C again to stop at once\n"
    assert capsys.readouterr().err == said
