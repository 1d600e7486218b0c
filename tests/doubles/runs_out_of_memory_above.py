"""A forward pass that runs out of device memory above a number of items."""

from __future__ import annotations

from collections.abc import Sequence

import torch


class RunsOutOfMemoryAbove:
    """Doubles its items. `sizes` records how many it was given each time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.sizes: list[int] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.sizes.append(len(items))
        if len(items) > self.most:
            raise torch.OutOfMemoryError(f"{len(items)} items")
        return [2 * item for item in items]
