"""A page that harms its process does not harm the next page or the parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hand_written_pdf import PdfPage, shown, written_pdf

from actors.failures import FailureKind, ItemFailure, SetupError
from pipelines.pages.page import Page, RenderOptions
from pipelines.pages.sandbox import Sandbox, SandboxLimits

THREE_PAGES = written_pdf([PdfPage(shown([f"This is page number {n}"])) for n in (1, 2, 3)])
LIMITS = SandboxLimits(wall_s=20)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(RenderOptions(), LIMITS) as opened:
        yield opened


@pytest.fixture(autouse=True)
def others() -> None:
    """Children of earlier tests (an S3 server, a fetcher's sandbox) are none of ours."""
    _OTHERS.clear()
    _OTHERS.update(process.pid for process in psutil.Process().children())


_OTHERS: set[int] = set()


def children() -> list[psutil.Process]:
    return [process for process in psutil.Process().children() if process.pid not in _OTHERS]


def child() -> psutil.Process:
    (only,) = children()
    return only


def failure(sandbox: Sandbox, data: bytes, page: int, key: str = "doc") -> ItemFailure:
    with pytest.raises(ItemFailure) as caught:
        sandbox.render(key, data, page)
    return caught.value


def text(page: Page) -> str | None:
    return page.native_text


@pytest.mark.parametrize(
    ("double", "limits", "kind", "words"),
    [
        ("hangs", {"wall_s": 1.5}, FailureKind.RENDER_TIMEOUT, "no answer within 1.5 s"),
        ("crashes", {}, FailureKind.RENDER_CRASH, "SIGSEGV"),
        ("eats_memory", {"memory_mb": 400}, FailureKind.OUT_OF_MEMORY, "its limit of 400 MB"),
        ("raises", {}, FailureKind.ENGINE_FAULT, "a defect of ours"),
    ],
)
def test_a_page_is_quarantined_not_its_document(
    double: str, limits: dict[str, float], kind: FailureKind, words: str
) -> None:
    settings = LIMITS.model_copy(update=limits)
    with Sandbox(RenderOptions(), settings, f"doubles.{double}_on_page_2") as sandbox:
        assert text(sandbox.render("doc", THREE_PAGES, 1)) == "This is page number 1"
        lost = failure(sandbox, THREE_PAGES, 2)
        assert lost.kind is kind
        assert words in lost.message
        assert text(sandbox.render("doc", THREE_PAGES, 3)) == "This is page number 3"
        assert len(children()) == 1  # neither an orphan nor a zombie
    assert children() == []


@pytest.mark.parametrize("forgery", [b"pickle", b"types", b"nan", b"lengths"])
def test_forged_replies_are_refused(forgery: bytes) -> None:
    data = THREE_PAGES + b"% " + forgery
    with Sandbox(RenderOptions(), LIMITS, "doubles.forges_replies_on_page_2") as sandbox:
        assert failure(sandbox, data, 2).kind is FailureKind.RENDER_CRASH
        assert text(sandbox.render("doc", data, 3)) == "This is page number 3"


def test_a_document_that_cannot_be_opened_costs_one_timeout_for_all_its_pages() -> None:
    limits = SandboxLimits(wall_s=1)
    with Sandbox(RenderOptions(), limits, "doubles.hangs_on_opening") as sandbox:
        sandbox.start()
        processes = {child().pid}
        for page in range(1, 100):
            assert failure(sandbox, THREE_PAGES, page).kind is FailureKind.RENDER_TIMEOUT
            processes |= {one.pid for one in children()}
        assert len(processes) <= 2, "each timeout ends the renderer"


def test_pages_of_one_document_share_a_process_and_a_parse(sandbox: Sandbox) -> None:
    assert sandbox.count_pages("doc", THREE_PAGES) == 3
    pid = child().pid
    for page in (1, 2, 3):
        # The bytes were sent already: were they sent again, these would be no document.
        assert text(sandbox.render("doc", b"", page)) == f"This is page number {page}"
    assert failure(sandbox, b"", 4).kind is FailureKind.PAGE_MISSING
    assert failure(sandbox, b"no document", 1, "other").kind is FailureKind.UNSUPPORTED_KIND
    assert sandbox.count_pages("doc", THREE_PAGES) == 3
    assert child().pid == pid


def test_pixels_are_limited_by_the_sandbox() -> None:
    with Sandbox(RenderOptions(), SandboxLimits(max_pixels=1000)) as sandbox:
        assert failure(sandbox, THREE_PAGES, 1).kind is FailureKind.TOO_MANY_PIXELS


def test_a_child_killed_between_pages_is_replaced_unnoticed(sandbox: Sandbox) -> None:
    sandbox.render("doc", THREE_PAGES, 1)
    child().kill()
    assert text(sandbox.render("doc", THREE_PAGES, 2)) == "This is page number 2"


def test_ctrl_c_and_the_end_of_a_thread_do_not_reach_the_child(sandbox: Sandbox) -> None:
    starter = threading.Thread(target=sandbox.start)
    starter.start()
    starter.join()  # PR_SET_PDEATHSIG would fire here
    pid = child().pid
    os.kill(pid, signal.SIGINT)
    assert os.getpgid(pid) != os.getpgid(0)
    assert text(sandbox.render("doc", THREE_PAGES, 1)) == "This is page number 1"
    assert child().pid == pid


def test_credentials_stay_outside(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    sandbox.start()
    assert "AWS_SECRET_ACCESS_KEY" not in child().environ()
    assert "PATH" in child().environ()


def test_nothing_is_left_open_by_lost_children() -> None:
    open_files = psutil.Process().num_fds()
    with Sandbox(RenderOptions(), LIMITS, "doubles.crashes_on_page_2") as sandbox:
        for _ in range(2):
            failure(sandbox, THREE_PAGES, 2)
    assert psutil.Process().num_fds() == open_files


def test_a_renderer_that_does_not_exist_stops_the_run() -> None:
    with pytest.raises(SetupError, match=r"doubles\.nowhere"):
        Sandbox(RenderOptions(), LIMITS, "doubles.nowhere").start()


@pytest.mark.parametrize("gone", ["temporary folder", "python"])
def test_a_child_that_cannot_be_started_again_is_no_fault_of_a_page(
    gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(RenderOptions(), LIMITS, restart_s=0.1) as sandbox:
        sandbox.render("doc", THREE_PAGES, 1)
        open_files = psutil.Process().num_fds()
        child().kill()
        with monkeypatch.context() as broken:
            if gone == "python":
                broken.setattr(sys, "executable", str(tmp_path / "python"))
            else:
                broken.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
            with pytest.raises(SetupError, match="does not start, tried for") as caught:
                sandbox.render("doc", THREE_PAGES, 2)
        assert str(tmp_path) in caught.value.message + caught.value.remedy
        assert psutil.Process().num_fds() < open_files, "nothing of the failed starts is left open"
        assert text(sandbox.render("doc", THREE_PAGES, 2)) == "This is page number 2"


def test_a_child_that_can_be_started_again_soon_costs_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "back_soon"))
    back = threading.Timer(1.0, (tmp_path / "back_soon").mkdir)
    back.start()
    with Sandbox(RenderOptions(), LIMITS) as sandbox:
        assert text(sandbox.render("doc", THREE_PAGES, 1)) == "This is page number 1"
    back.join()


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in native code that keeps the GIL"])
def test_the_child_dies_with_its_parent(busy: bool, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys, psutil\n"
        "from pipelines.pages.render import RenderOptions\n"
        "from pipelines.pages.sandbox import Sandbox, SandboxLimits\n"
        "data = open(sys.argv[1], 'rb').read()\n"
        "sandbox = Sandbox(RenderOptions(), SandboxLimits(), 'doubles.hangs_on_page_2')\n"
        "sandbox.render('doc', data, 1)\n"
        "print(psutil.Process().children()[0].pid, flush=True)\n"
        "sandbox.render('doc', data, int(sys.argv[2]))\n"
        "sys.stdin.read()\n"
    )
    document = tmp_path / "three.pdf"
    document.write_bytes(THREE_PAGES)
    with subprocess.Popen(
        [sys.executable, str(script), str(document), "2" if busy else "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        orphan = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.3)
        parent.kill()
    gone, _ = psutil.wait_procs([orphan], timeout=60)
    assert gone or orphan.status() == psutil.STATUS_ZOMBIE  # where nobody reaps in PID 1's place
