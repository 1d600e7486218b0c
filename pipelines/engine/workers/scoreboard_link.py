"""A worker's connection to the scoreboard."""

from __future__ import annotations

from typing import Any, Protocol

import pyarrow as pa

from pipelines.errors import NightjarError


class BoardLink(Protocol):
    """The scoreboard as a worker calls it: a Ray actor, or a Board in the same process (tests)."""

    def begin(self, stage: str, rows: list[int]) -> dict[int, int]: ...
    def release(self, stage: str, rows: list[int]) -> None: ...
    def end(
        self,
        stage: str,
        rows: list[int],
        failures: dict[str, int],
        seconds: dict[str, float],
        busy_s: float,
    ) -> None: ...
    def report_spending(self, spent: dict[str, float]) -> None: ...
    def report_recycled(self, stage: str) -> None: ...
    def report_readable(self, stage: str, row: pa.Table) -> None: ...
    def readable(self, stage: str) -> pa.Table | None: ...
    def report_spent(self, stage: str, rows: list[int], message: str) -> None: ...
    def report_fruitless(self, stage: str, rows: list[int], message: str) -> int: ...
    def said_of(self, stage: str, row: int) -> str: ...
    def report_setup(self, stage: str, provenance: dict[str, str]) -> None: ...
    def report_setup_error(self, stage: str, message: str, remedy: str) -> None: ...
    def report_stop(self, error: NightjarError) -> None: ...


class RayBoardLink:
    """Calls the scoreboard actor. Of the frequent calls only `begin` waits for an answer (1 ms)."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def begin(self, stage: str, rows: list[int]) -> dict[int, int]:
        import ray

        answer: dict[int, int] = ray.get(self._handle.begin.remote(stage, rows))
        return answer

    def release(self, stage: str, rows: list[int]) -> None:
        self._handle.release.remote(stage, rows)

    def end(
        self,
        stage: str,
        rows: list[int],
        failures: dict[str, int],
        seconds: dict[str, float],
        busy_s: float,
    ) -> None:
        self._handle.end.remote(stage, rows, failures, seconds, busy_s)

    def report_spending(self, spent: dict[str, float]) -> None:
        self._handle.report_spending.remote(spent)

    def report_recycled(self, stage: str) -> None:
        import ray

        ray.get(self._handle.report_recycled.remote(stage))  # waits for all earlier calls too

    def report_readable(self, stage: str, row: pa.Table) -> None:
        self._handle.report_readable.remote(stage, row)

    def readable(self, stage: str) -> pa.Table | None:
        import ray

        return ray.get(self._handle.readable.remote(stage))

    def report_spent(self, stage: str, rows: list[int], message: str) -> None:
        import ray

        ray.get(self._handle.report_spent.remote(stage, rows, message))

    def report_fruitless(self, stage: str, rows: list[int], message: str) -> int:
        import ray

        count: int = ray.get(self._handle.report_fruitless.remote(stage, rows, message))
        return count

    def said_of(self, stage: str, row: int) -> str:
        import ray

        said: str = ray.get(self._handle.said_of.remote(stage, row))
        return said

    def report_setup(self, stage: str, provenance: dict[str, str]) -> None:
        self._handle.report_setup.remote(stage, provenance)

    def report_setup_error(self, stage: str, message: str, remedy: str) -> None:
        import ray

        ray.get(self._handle.report_setup_error.remote(stage, message, remedy))

    def report_stop(self, error: NightjarError) -> None:
        import ray

        ray.get(self._handle.report_stop.remote(error))
