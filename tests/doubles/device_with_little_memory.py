"""A device on which no tensor may be larger than a limit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class _Limit(TorchDispatchMode):
    def __init__(self, largest: int) -> None:
        super().__init__()
        self.largest = largest
        self.refusals = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.nbytes > self.largest:
            self.refusals += 1
            raise torch.OutOfMemoryError("CUDA out of memory. (a double)")
        return result


@contextmanager
def little_memory(largest: int) -> Iterator[_Limit]:
    """Operations of this thread whose result has more than `largest` bytes find no memory."""
    with _Limit(largest) as limit:
        yield limit
