"""Batches for a device: prefetch the next batch, and halve a batch that is too large."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Result = TypeVar("Result")


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


def halving(
    forward: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]
) -> list[Result | None]:
    """One result per item, in order; None for an item that does not fit in a batch of one.

    Args:
        forward: computes the results of several items; may raise torch.OutOfMemoryError.
        items: its input.
    """
    try:
        return list(forward(items))
    except torch.OutOfMemoryError:
        pass  # leaving the handler frees the traceback and its tensors
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(items) == 1:
        return [None]
    half = len(items) // 2
    return [*halving(forward, items[:half]), *halving(forward, items[half:])]


def parts(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Split `items`, in order, into parts of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def in_batches(
    forward: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item], size: int
) -> list[Result | None]:
    """`halving` on batches of `size`: one result per item, in order."""
    return [result for part in parts(items, size) for result in halving(forward, part)]
