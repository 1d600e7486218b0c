"""Print the output of a submitted job until it ends. Reconnects when the connection breaks."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable

import aiohttp
from ray.job_submission import JobDetails

from jobs.cluster.ray_jobs import Head
from pipelines.errors import ClusterUnreachable

#: Seconds without a connection after which following ends. The job goes on.
PATIENCE_S = 600.0
#: Seconds without output after which the head is asked whether the job still runs: a dead
#: connection can raise no error.
_SILENCE_S = 20.0
_LONGEST_PAUSE_S = 15.0
_TRIES_AT_THE_END = 3
_BROKEN = (aiohttp.ClientError, OSError, RuntimeError)  # OSError includes TimeoutError

Write = Callable[[str], None]


def follow(
    head: Head, job: str, write: Write, note: Write, patience_s: float = PATIENCE_S
) -> JobDetails:
    """Follow a job to its end and return its final state.

    Args:
        head: of the cluster.
        job: submission id.
        write: gets the output, each character once.
        note: gets a message when the connection breaks and when it returns.
        patience_s: seconds without a connection before giving up.

    Raises:
        ClusterUnreachable: no connection for `patience_s`.
        RunNotFound: the head was restarted and has forgotten the job.
    """
    return asyncio.run(_Follower(head, job, write, note, patience_s).run())


class _Follower:
    def __init__(self, head: Head, job: str, write: Write, note: Write, patience_s: float) -> None:
        self._head, self._job = head, job
        self._write, self._note = write, note
        self._patience_s = patience_s
        self._printed = 0  # characters; a new connection starts at the beginning of the log
        self._contact = time.monotonic()
        self._lost = 0

    async def run(self) -> JobDetails:
        broken = 0  # streams in a row that broke after the job had ended
        while True:
            whole = await self._tail()
            job = await self._asked()
            if job and job.status.is_terminal():
                broken += not whole
                if whole or broken > _TRIES_AT_THE_END:
                    if not whole:
                        self._note("the end of the log cannot be read; its node may be gone")
                    return job
            await asyncio.sleep(min(2.0**self._lost, _LONGEST_PAUSE_S) if job is None else 0.5)

    async def _tail(self) -> bool:
        """Print until the stream ends. False: the connection broke and output may be missing."""
        stream = self._head.tail(self._job)
        seen = 0
        try:
            while (text := await self._next(stream)) is not None:
                new = text[max(self._printed - seen, 0) :]
                seen += len(text)
                self._printed = max(self._printed, seen)
                self._write(new)
                self._reached()
        except _BROKEN:
            return False
        finally:
            await stream.aclose()
        return True

    async def _next(self, stream: AsyncGenerator[str, None]) -> str | None:
        waiting = asyncio.ensure_future(anext(stream, None))
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=_SILENCE_S)
            if done:
                return waiting.result()
            job = await self._asked()
            if job is None or job.status.is_terminal():
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError, *_BROKEN):
                    await waiting
                raise TimeoutError

    async def _asked(self) -> JobDetails | None:
        """The state of the job; None if the head cannot be reached."""
        try:
            job = await asyncio.to_thread(self._head.resolve, self._job)
        except ClusterUnreachable as error:
            silent_s = time.monotonic() - self._contact
            if silent_s > self._patience_s:
                raise ClusterUnreachable(
                    f"no connection for {silent_s:.0f} s: {error.message}",
                    "the job may still be running; follow it again: "
                    f"nightjar logs {self._job} --follow",
                ) from None
            if not self._lost:
                self._note(f"connection lost, retrying: {error.message}")
            self._lost += 1
            return None
        self._reached()
        return job

    def _reached(self) -> None:
        if self._lost:
            self._note("connection restored")
        self._contact, self._lost = time.monotonic(), 0
