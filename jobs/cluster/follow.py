"""Print what a submitted job prints until it ends, whatever becomes of the connection meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable

import aiohttp
from ray.job_submission import JobDetails

from jobs.cluster.ray_jobs import Head
from pipelines.errors import ClusterUnreachable

#: Seconds without contact after which following ends; the job itself does not.
PATIENCE_S = 600.0
#: Seconds of silence after which the head is asked whether the job still runs: a connection can
#: end without a word.
_SILENCE_S = 20.0
_LONGEST_PAUSE_S = 15.0
_TRIES_AT_THE_END = 3
_BROKEN = (aiohttp.ClientError, OSError, RuntimeError)  # OSError: TimeoutError too

Write = Callable[[str], None]


def follow(
    head: Head, job: str, write: Write, note: Write, patience_s: float = PATIENCE_S
) -> JobDetails:
    """The job as it ended. `write` gets its output, each character once; `note` what went wrong.

    Raises ClusterUnreachable after `patience_s` without contact, RunNotFound if the head has been
    started anew meanwhile.
    """
    return asyncio.run(_Follower(head, job, write, note, patience_s).run())


class _Follower:
    def __init__(self, head: Head, job: str, write: Write, note: Write, patience_s: float) -> None:
        self._head, self._job = head, job
        self._write, self._note = write, note
        self._patience_s = patience_s
        self._printed = 0  # characters; a new connection starts at the log's beginning
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
                        self._note("the end of its log cannot be read; its node may be gone")
                    return job
            await asyncio.sleep(min(2.0**self._lost, _LONGEST_PAUSE_S) if job is None else 0.5)

    async def _tail(self) -> bool:
        """Print until the stream ends; False: it broke, and there may be more."""
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
        """The job as the head has it; None: there is no contact."""
        try:
            job = await asyncio.to_thread(self._head.resolve, self._job)
        except ClusterUnreachable as error:
            silent_s = time.monotonic() - self._contact
            if silent_s > self._patience_s:
                raise ClusterUnreachable(
                    f"no contact for {silent_s:.0f} s: {error.message}",
                    f"the job may well run on: nightjar logs {self._job} --follow",
                ) from None
            if not self._lost:
                self._note(f"contact lost, trying again: {error.message}")
            self._lost += 1
            return None
        self._reached()
        return job

    def _reached(self) -> None:
        if self._lost:
            self._note("contact again")
        self._contact, self._lost = time.monotonic(), 0
