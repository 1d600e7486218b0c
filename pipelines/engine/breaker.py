"""Stops a run in which too many rows fail, before a whole night is wasted."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass

from actors.failures import ENVIRONMENTAL
from pipelines.config import Limits
from pipelines.engine.progress import Committed
from pipelines.errors import TooManyFailures
from pipelines.runs.faults import Faults
from pipelines.runs.shards import StagedShard

#: Kinds in a message, and characters of each example.
_KINDS, _WORDS = 3, 160


@dataclass(frozen=True)
class Trip:
    """Why the run stops. `column`, `kind`: the failure whose rows stay open; else None."""

    error: TooManyFailures
    column: str = ""
    kind: str | None = None


class Breaker:
    """Counts the failures of a session, shard by shard. `done`: what is committed so far."""

    def __init__(self, limits: Limits, done: Committed) -> None:
        self._limits, self._done = limits, done
        self._before = 0  # rows of earlier shards
        self._last: dict[tuple[str, str], deque[int]] = defaultdict(deque)
        self._examples: dict[str, list[tuple[str, str]]] = {}

    def trip(self, shard: StagedShard) -> Trip | None:
        """Count a shard before it is committed; not None if the run must stop."""
        for faults in shard.faults.values():
            self._examples |= faults.examples
        for column, faults in shard.faults.items():
            kind = self._too_often(column, faults)
            if kind is not None:
                return Trip(self._same(kind, column), column, kind)
        self._before += len(shard.row_ids)
        return self._share(shard)

    def _too_often(self, column: str, faults: Faults) -> str | None:
        """The environmental kind that fills the window of the last rows, if one does."""
        limit = self._limits.same_failure
        for kind in sorted(faults.at.keys() & ENVIRONMENTAL) if limit else ():
            assert limit is not None
            last = self._last[column, kind]
            for position in faults.at[kind]:
                last.append(self._before + int(position))
                if len(last) > limit.rows:
                    last.popleft()
                if len(last) == limit.rows and last[-1] - last[0] < limit.within:
                    return kind
        return None

    def _same(self, kind: str, column: str) -> TooManyFailures:
        limit = self._limits.same_failure
        assert limit is not None
        return TooManyFailures(
            f"{limit.rows} of the last {limit.within} rows failed with {kind} ({column})"
            + self._shown([kind]),
            f"remove the cause, then start the same command again. The rows of the last shard with "
            f"{kind} are not committed; for those of earlier shards add --retry-failed {kind}. "
            "--accept-failures runs without this limit (limits.same_failure)",
        )

    def _share(self, shard: StagedShard) -> Trip | None:
        most, done = self._limits.max_failed_share, self._done
        rows = done.rows + len(shard.row_ids)
        failed = done.outcomes["failed"] + shard.outcomes["failed"]
        if most is None or rows < self._limits.after or failed <= most * rows:
            return None
        kinds = (done.failures + shard.failures).most_common()
        counts = ", ".join(f"{kind} {count:,}" for kind, count in kinds)
        return Trip(
            TooManyFailures(
                f"{failed:,} of {rows:,} rows failed ({failed / rows:.0%}; the limit is "
                f"{most:.0%}): {counts}" + self._shown([kind for kind, _ in kinds[:_KINDS]]),
                "look at the examples. If these files are really bad, --accept-failures goes on "
                "without this limit (limits.max_failed_share). Otherwise remove the cause and "
                "add --retry-failed all to the same command",
            )
        )

    def _shown(self, kinds: list[str]) -> str:
        lines = [
            f"\n  {kind}: {uri}: {_last_line(message)[:_WORDS]}"
            for kind in kinds
            for uri, message in self._examples.get(kind, ())[: 3 if len(kinds) == 1 else 1]
        ]
        return "".join(lines)


def _last_line(message: str) -> str:
    """The line of a traceback that says what happened."""
    lines = message.strip().splitlines()
    return lines[-1].strip() if lines else ""
