"""Batches for a device: prefetch the next batch, and halve a batch that is too large."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Result = TypeVar("Result")


@dataclass
class Tally:
    """What the forward passes of this process have met; `nightjar plan --measure` reads it.

    Attributes:
        refused: batches that did not fit into memory.
        largest: total weight of the largest batch that did.
    """

    refused: int = 0
    largest: float = 0


TALLY = Tally()
#: 64 batches and one that fails lose less than 2 % of the time.
PATIENCE = 64


def ahead(prepare: Callable[[Item], Ready], items: Iterable[Item]) -> Iterator[Ready]:
    """``map(prepare, items)``, with the next item prepared in a thread meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for item in items:
            following = pool.submit(prepare, item)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def parts(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Split `items`, in order, into parts of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def halving(
    forward: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]
) -> list[Result | None]:
    """`Fitting` for a single call, which remembers nothing."""
    return Fitting(forward)(items)


class Fitting(Generic[Item, Result]):
    """A forward pass in batches that fit into memory.

    A batch that does not fit is halved, and later batches start at the size that was left. This
    holds for items of the same weight and, in proportion, for heavier ones. Memory can also run out
    because another process of a shared GPU needed it for a moment: after `PATIENCE` full batches
    twice the size is tried, the next time after twice as many.
    """

    def __init__(
        self, forward: Callable[[Sequence[Item]], Sequence[Result]], size: int | None = None
    ) -> None:
        """`size`: largest batch; None: all items.

        `forward`: one result per item, in order; may raise torch.OutOfMemoryError.
        """
        self._forward, self.size = forward, size
        self._limits: list[_Limit] = []

    def __call__(self, items: Sequence[Item], weight: float = 1) -> list[Result | None]:
        """One result per item, in order; None for an item that does not fit in a batch of one.

        `weight`: memory of each item relative to that of other calls, such as its pixels.
        """
        results: list[Result | None] = []
        while len(results) < len(items):
            rest = items[len(results) :]
            limit = self._binding(weight)
            allowed = max(1, int(limit.most / weight)) if limit else len(rest)
            batch = rest[: min(allowed, self.size or allowed)]
            answers = self._tried(batch)
            if answers is not None:
                results += answers
                TALLY.largest = max(TALLY.largest, len(batch) * weight)
                if limit and len(batch) == allowed:
                    limit.held()
            else:
                TALLY.refused += 1
                self._learn(len(batch), weight)
                results += [None] if len(batch) == 1 else []
        return results

    def _tried(self, items: Sequence[Item]) -> Sequence[Result] | None:
        """The results; None if memory ran out."""
        try:
            return self._forward(items)
        except torch.OutOfMemoryError:
            pass  # leaving the handler frees the traceback and its tensors
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _binding(self, weight: float) -> _Limit | None:
        """The smallest limit, of those learnt from items that are not heavier."""
        known = [limit for limit in self._limits if limit.weight <= weight]
        return min(known, key=lambda limit: limit.most, default=None)

    def _learn(self, count: int, weight: float) -> None:
        """`count` items of this weight do not fit."""
        most = max(1, count // 2) * weight
        patience = max((old.patience for old in self._limits if old.weight == weight), default=0)
        # Limits of items as heavy or heavier that are as high say nothing more.
        self._limits = [one for one in self._limits if one.weight < weight or one.most < most]
        self._limits.append(_Limit(weight, most, patience or PATIENCE))


@dataclass
class _Limit:
    """What is left after memory ran out: batches of `most` in total, for items of `weight` on."""

    weight: float
    most: float
    patience: int  #: full batches until twice the size is tried
    runs: int = 0

    def held(self) -> None:
        """Note a full batch that fitted."""
        self.runs += 1
        if self.runs >= self.patience:
            self.runs, self.most, self.patience = 0, 2 * self.most, 2 * self.patience
