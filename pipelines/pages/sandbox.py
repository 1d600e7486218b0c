"""Page rendering in a child process that can be killed, because native code gets untrusted bytes.

The child (`pipelines.pages.sandbox_child`) handles many pages and keeps the last document open. The
parent watches wall time and memory. It kills a child that exceeds them; the page fails, and the
next page starts a new child. The sandbox costs 0.1 ms per page, plus the copies.

Memory is watched and not limited by setrlimit: if an allocation fails, pdfium silently draws the
page without the image that needed it (measured: a JPEG 2000 scan of 16 MP came out white under an
RLIMIT_DATA of 200 MB).
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, TypeVar

import psutil
from pydantic import Field, ValidationError

from actors.contract import Settings
from actors.failures import FailureKind, ItemFailure, SetupError
from pipelines.pages.attached import NOTHING, Attached, may_have_attachments
from pipelines.pages.page import Page, RenderOptions, page_missing
from pipelines.pages.sandbox_child import LENGTHS, ChildRequest, Reply, frame
from pipelines.storage.local import temporary_folder

T = TypeVar("T")

_BOOT = """\
import json, sys
sys.path[:], channel, lifeline = json.loads(sys.argv[1])
from pipelines.pages.sandbox_child import serve
serve(channel, lifeline)
"""
#: Environment variables of the child: it must not see credentials.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
#: Seconds between checks of the child's memory: at 2 GB/s it can exceed its limit by 40 MB.
_TICK_S = 0.02
_LAST_WORDS = 800  # bytes of the child's stderr in the message
_STARTUP_S = 120.0  # imports take 0.7 s on an idle machine; a cold network disk takes longer
#: Seconds in which a child that does not start is tried again, and the pause between two tries.
_RESTART_S, _RESTART_PAUSE_S = 30.0, 2.0


class SandboxLimits(Settings):
    """Limits for one page; above them the rendering process is killed."""

    wall_s: float = Field(60.0, gt=0, description="most seconds per page; else RENDER_TIMEOUT")
    memory_mb: int = Field(
        2048,
        ge=256,
        description="most MiB of memory of the process, 100 of them for its code; else "
        "OUT_OF_MEMORY",
    )
    max_pixels: int = Field(
        100_000_000, ge=1, description="most pixels of a page; else TOO_MANY_PIXELS"
    )


#: Nightjar's own renderer: `fetch.renderer: null`.
_OWN_RENDERER = "pipelines.pages.render"
#: Its names in configs and run records of version 0.1 before 2026-12.
_OLD_NAMES = frozenset({"pipelines.render", _OWN_RENDERER})


def renderer_name(value: Any) -> Any:
    """The value of `fetch.renderer`; None for every name of Nightjar's own renderer."""
    return None if value in _OLD_NAMES else value


class ChildLost(ItemFailure):
    """The child was killed or died."""


class Sandbox:
    """Renders pages in a child process. Not thread-safe: one Sandbox per thread.

    Args:
        options: how pages are rendered.
        limits: of time, memory and pixels.
        renderer: import path of a module with the functions of `pipelines.pages.render`; None: that
            module.
        restart_s: seconds in which a child that does not start is tried again.

    Every method that needs the child raises SetupError if it cannot be started: without a temporary
    folder, processes, memory or its own python, every page would fail.
    """

    def __init__(
        self,
        options: RenderOptions,
        limits: SandboxLimits,
        renderer: str | None = None,
        restart_s: float = _RESTART_S,
    ) -> None:
        self._restart_s = restart_s
        limited = options.model_copy(update={"max_pixels": limits.max_pixels})
        renderer = renderer or _OWN_RENDERER
        self._configured = ChildRequest(what="start", renderer=renderer, options=limited)
        self._limits = limits
        self._child: _Child | None = None
        #: Key and failure of the last document that could not be opened.
        self._refused: tuple[str, FailureKind, str] | None = None

    def start(self) -> None:
        """Start the child now instead of with the first page. Raises SetupError."""
        self._ready()

    def count_pages(self, key: str, data: bytes) -> int:
        """Number of pages of the document. `key` identifies its bytes: URI and version.

        Raises ItemFailure: the renderer's own, RENDER_TIMEOUT, RENDER_CRASH, OUT_OF_MEMORY,
        ENGINE_FAULT (an exception inside the renderer, with its traceback).
        """
        if self._refused is not None and self._refused[0] == key:
            raise ItemFailure(*self._refused[1:])
        try:
            return self._fairly(lambda: self._open(key, data)[1])
        except ItemFailure as failure:
            self._refused = (key, failure.kind, failure.message)
            raise

    def render(self, key: str, data: bytes, page: int) -> Page:
        """Page `page` (1-based). Consecutive pages of a document send and parse it once.

        If opening a document breaks the child, all its pages fail without further attempts. If a
        page breaks the child, only this page fails.
        Raises ItemFailure: those of `count_pages`, PAGE_MISSING, TOO_MANY_PIXELS.
        """
        pages = self.count_pages(key, data)
        if not 1 <= page <= pages:
            raise page_missing(page, pages)
        return self._fairly(lambda: self._page(key, data, page))

    def attached(self, key: str, pdf: bytes) -> Attached:
        """The files attached to a PDF. `key`: as for `count_pages`.

        Raises ItemFailure: those of `count_pages`, TOO_MANY_MEMBERS.
        """
        if not may_have_attachments(pdf):
            return NOTHING
        return self._fairly(lambda: self._beside(key, pdf)[1])

    def attachment(self, key: str, pdf: bytes, name: str, max_bytes: int) -> bytes:
        """The content of a file attached to a PDF; `name` as in `attached`.

        Consecutive files of a PDF send and parse it once. Raises ItemFailure: those of `attached`,
        OBJECT_MISSING, EMPTY_FILE, TOO_MANY_BYTES.
        """
        request = ChildRequest(what="attachment", name=name, max_bytes=max_bytes)
        return self._fairly(lambda: self._ask(self._beside(key, pdf)[0], request)[1])

    def _beside(self, key: str, pdf: bytes) -> tuple[_Child, Attached]:
        child = self._ready()
        if child.container is None or child.container[0] != key:
            child.container = None
            reply, _ = self._ask(child, ChildRequest(what="attached"), pdf)
            child.container = (key, reply.attached or NOTHING)
        return child, child.container[1]

    def close(self) -> None:
        """End the child; the next page starts another one."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fairly(self, work: Callable[[], T]) -> T:
        """`work()`, repeated once in a new child if a child in use died.

        An earlier page may have leaked memory or damaged the heap. If the new child dies too, this
        page is the cause. A timeout is not repeated: it costs a minute, and leaks do not cause it.
        """
        begun_anew = self._child is None
        try:
            return work()
        except ChildLost as loss:
            if begun_anew or loss.kind is FailureKind.RENDER_TIMEOUT:
                raise
        return work()

    def _ready(self) -> _Child:
        if self._child is not None and self._child.alive:
            return self._child
        began = time.monotonic()
        while True:
            self.close()
            try:
                return self._started()
            except (OSError, ChildLost) as error:
                waited = time.monotonic() - began
                if waited >= self._restart_s:
                    raise SetupError(
                        f"the renderer's process does not start, tried for {waited:.0f} s: {error}",
                        f"look at {sys.executable}, the temporary folder {temporary_folder()}, the "
                        "number of processes and the memory of this machine, then start the same "
                        "command again",
                    ) from error
                time.sleep(min(_RESTART_PAUSE_S, self._restart_s - waited))

    def _started(self) -> _Child:
        """A new child with its renderer. Raises OSError, ChildLost, SetupError."""
        self._child = _Child(self._limits.memory_mb)
        try:
            self._ask(self._child, self._configured, wall_s=_STARTUP_S)
        except ChildLost:
            raise
        except ItemFailure as failure:
            self.close()
            raise SetupError(
                f"renderer {self._configured.renderer} does not start: {failure.message}",
                "set fetch.renderer to an importable module with count_pages and render_page",
            ) from failure
        return self._child

    def _open(self, key: str, data: bytes) -> tuple[_Child, int]:
        child = self._ready()
        if child.document is None or child.document[0] != key:
            child.document = None
            reply, _ = self._ask(child, ChildRequest(what="open"), data)
            child.document = (key, reply.pages or 0)
        return child, child.document[1]

    def _page(self, key: str, data: bytes, page: int) -> Page:
        child, _ = self._open(key, data)
        reply, image = self._ask(child, ChildRequest(what="page", page=page))
        if reply.page is None:
            raise self._nonsense("the reply has no page")
        return reply.page.model_copy(update={"image": image or None})

    def _ask(
        self, child: _Child, request: ChildRequest, body: bytes = b"", wall_s: float | None = None
    ) -> tuple[Reply, bytes]:
        try:
            answer = child.exchange(frame(request, body), wall_s or self._limits.wall_s)
            reply = Reply.model_validate_json(answer[0])
        except ChildLost:
            self.close()
            raise
        except ValidationError as error:
            raise self._nonsense(str(error)) from error
        if reply.fault is not None:
            raise ItemFailure(reply.fault.kind, reply.fault.message)
        return reply, answer[1]

    def _nonsense(self, what: str) -> ChildLost:
        self.close()
        return ChildLost(
            FailureKind.RENDER_CRASH, f"the renderer sent an invalid reply: {what[:500]}"
        )


class _Child:
    """The child process: one frame in, one frame out, until it exceeds a limit or dies."""

    def __init__(self, memory_mb: int) -> None:
        self._memory = memory_mb * 2**20
        self.document: tuple[str, int] | None = None  #: key and page count of the open document
        self.container: tuple[str, Attached] | None = None  #: the PDF that is open beside it
        with ExitStack() as files:  # they are closed if one step fails
            self._channel, theirs = map(files.enter_context, socket.socketpair())
            self._stderr = files.enter_context(tempfile.TemporaryFile(mode="a+b"))
            lifeline, ours = os.pipe()
            files.callback(os.close, ours)
            try:
                self._process = _spawned(theirs.fileno(), lifeline, self._stderr)
            finally:
                os.close(lifeline)
            files.pop_all()
        theirs.close()
        self._channel.setblocking(False)
        self.end = weakref.finalize(self, _end, self._process, self._channel, self._stderr, ours)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def exchange(self, pieces: list[bytes], wall_s: float) -> tuple[bytes, bytes]:
        """Header and body of the reply. Raises ChildLost."""
        self._wall_s, self._deadline = wall_s, time.monotonic() + wall_s
        self._stderr.truncate(0)
        try:
            for piece in pieces:
                self._send(memoryview(piece))
            header, body = LENGTHS.unpack(self._receive(LENGTHS.size))
            if header + body > self._memory:
                raise ChildLost(
                    FailureKind.RENDER_CRASH, f"the renderer sent {header + body:,} bytes"
                )
            return self._receive(header), self._receive(body)
        except ConnectionError:
            raise self._post_mortem() from None

    def _send(self, piece: memoryview) -> None:
        while piece:
            self._wait(select.POLLOUT)
            piece = piece[self._channel.send(piece) :]

    def _receive(self, size: int) -> bytes:
        buffer = bytearray(size)
        rest = memoryview(buffer)
        while rest:
            self._wait(select.POLLIN)
            got = self._channel.recv_into(rest)
            if not got:
                raise ConnectionResetError
            rest = rest[got:]
        return bytes(buffer)

    def _wait(self, event: int) -> None:
        """Wait until the channel is ready for `event`. Raises ChildLost at a limit."""
        poll = select.poll()
        poll.register(self._channel, event)
        while time.monotonic() < self._deadline:
            if poll.poll(1000 * _TICK_S):
                return
            self._check_memory()
        raise ChildLost(FailureKind.RENDER_TIMEOUT, f"no answer within {self._wall_s:g} s")

    def _check_memory(self) -> None:
        try:
            used = psutil.Process(self._process.pid).memory_info().rss
        except psutil.NoSuchProcess:
            return  # the broken channel reports it
        if used > self._memory:
            raise ChildLost(
                FailureKind.OUT_OF_MEMORY,
                f"the renderer used more than its limit of {self._memory >> 20:,} MB",
            )

    def _post_mortem(self) -> ChildLost:
        """The reason why the channel broke."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return ChildLost(FailureKind.RENDER_CRASH, "the renderer closed its channel")
        if code == -signal.SIGKILL:
            return ChildLost(
                FailureKind.OUT_OF_MEMORY,
                "the system killed the renderer, probably for lack of memory",
            )
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _LAST_WORDS))
        said = self._stderr.read().decode(errors="replace").strip()
        return ChildLost(FailureKind.RENDER_CRASH, f"the renderer died of {how}: {said}")


def _spawned(channel: int, lifeline: int, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    path = [str(Path(entry).resolve()) for entry in sys.path]
    return subprocess.Popen(
        [sys.executable, "-c", _BOOT, json.dumps([path, channel, lifeline])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=(channel, lifeline),
        env={n: os.environ[n] for n in _INHERITED if n in os.environ} | _ONE_THREAD,
        process_group=0,  # Ctrl-C in the terminal must reach only the parent
    )


def _end(
    process: subprocess.Popen[bytes], channel: socket.socket, stderr: IO[bytes], lifeline: int
) -> None:
    """Kill and reap the child, and close its files."""
    process.kill()
    process.wait()
    channel.close()
    stderr.close()
    os.close(lifeline)
