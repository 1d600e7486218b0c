"""The child's side of `pipelines.pages.sandbox`, and the frames that both sides exchange.

A frame: length of the header, length of the body, header (JSON), body. No pickle: a compromised
child must not run code in the parent.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import importlib
import os
import resource
import select
import signal
import socket
import struct
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from actors.failures import FailureKind, ItemFailure
from pipelines.pages.attached import Attached
from pipelines.pages.page import Page, RenderOptions

LENGTHS = struct.Struct(">QQ")
_OPENCV_NO_MEMORY = -4
_MAX_FILE = 16 << 20  # bytes; limits the stderr of a decoder, which writes no other file


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChildRequest(_Strict):
    """Configure the child, open the document in the body, or render a page of the open one.

    "attached" opens the PDF in the body beside the document, "attachment" takes a file out of it.
    """

    what: Literal["start", "open", "page", "attached", "attachment"]
    renderer: str = ""
    options: RenderOptions | None = None
    page: int = 0
    name: str = ""  #: of the attachment
    max_bytes: int = 0


class Fault(_Strict):
    """An ItemFailure on its way to the parent."""

    kind: FailureKind
    message: str


class Reply(_Strict):
    """Exactly one is set. The body is the image of a page, or an attached file (`pages` is 0)."""

    pages: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    attached: Attached | None = None
    page: Page | None = None
    fault: Fault | None = None


def frame(header: BaseModel, body: bytes = b"") -> list[bytes]:
    """The parts of one frame; the body is not copied."""
    packed = header.model_dump_json(exclude_defaults=True).encode()
    return [LENGTHS.pack(len(packed), len(body)) + packed, body]


def serve(channel_fd: int, lifeline_fd: int) -> None:
    """Answer requests until the parent closes the channel. The main loop of the child."""
    die_with(lifeline_fd)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE, _MAX_FILE))
    faulthandler.enable()  # a segfault prints the Python stack to stderr, for the row's message
    with contextlib.suppress(OSError):  # Linux: the OOM killer should choose this process first
        Path("/proc/self/oom_score_adj").write_text("1000")
    with socket.socket(fileno=channel_fd) as channel, channel.makefile("rb") as requests:
        served = _Served()
        while head := requests.read(LENGTHS.size):
            header, body = (requests.read(size) for size in LENGTHS.unpack(head))
            reply, image = served.answer(ChildRequest.model_validate_json(header), body)
            for piece in frame(reply, image):
                channel.sendall(piece)


def die_with(lifeline_fd: int) -> None:
    """End this process as soon as the other end of a pipe is closed.

    The kernel then sends SIGIO, which terminates the process even inside native code that holds the
    GIL. PR_SET_PDEATHSIG does not work here: it fires when the *thread* that started the child
    ends, and Ray calls its workers from several threads.
    """
    fcntl.fcntl(lifeline_fd, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(lifeline_fd, fcntl.F_GETFL)
    fcntl.fcntl(lifeline_fd, fcntl.F_SETFL, flags | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline_fd, 0)
    if poll.poll(0):  # the pipe was closed before the signal was set up
        os._exit(1)


class _Served:
    """The renderer and the open document."""

    def __init__(self) -> None:
        self._renderer: Any = None  # a module with the functions of `pipelines.pages.render`
        self._options = RenderOptions()
        self._document = b""
        self._attached: Any = None  # AttachedFiles of the last PDF that was asked for

    def answer(self, request: ChildRequest, body: bytes) -> tuple[Reply, bytes]:
        """The reply, and the image as its body."""
        try:
            return self._attempt(request, body)
        except ItemFailure as failure:
            fault = Fault(kind=failure.kind, message=failure.message[:2000])
        except MemoryError as error:
            fault = Fault(kind=FailureKind.OUT_OF_MEMORY, message=str(error) or "MemoryError")
        except Exception as error:
            refused = getattr(error, "code", None) == _OPENCV_NO_MEMORY
            kind = FailureKind.OUT_OF_MEMORY if refused else FailureKind.ENGINE_FAULT
            fault = Fault(kind=kind, message=traceback.format_exc()[-2000:])
        return Reply(fault=fault), b""

    def _attempt(self, request: ChildRequest, body: bytes) -> tuple[Reply, bytes]:
        if request.what == "start":
            self._renderer = importlib.import_module(request.renderer)
            # Before the first page's timeout runs.
            importlib.import_module("pipelines.pages.pdf.rendering")
            self._options = request.options or RenderOptions()
            return Reply(pages=0), b""
        if request.what == "open":
            self._document = body
            return Reply(pages=self._renderer.count_pages(body, self._options)), b""
        if request.what in ("attached", "attachment"):
            return self._of_attachments(request, body)
        page: Page = self._renderer.render_page(self._document, request.page, self._options)
        return Reply(page=page.model_copy(update={"image": None})), page.image or b""

    def _of_attachments(self, request: ChildRequest, pdf: bytes) -> tuple[Reply, bytes]:
        from pipelines.pages.pdf.attachments import AttachedFiles  # a second parser, for few PDFs

        if request.what == "attached":
            self._attached = None
            self._attached = AttachedFiles(pdf, self._options.passwords)
            return Reply(attached=self._attached.found), b""
        return Reply(pages=0), self._attached.content(request.name, request.max_bytes)
