"""The CUDA device of a worker: its part of the memory, and whether its context is dead."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from actors.contract import device_of
from pipelines.flow import Stage

#: After these errors "the process must be terminated and relaunched" (CUDA Runtime API, type
#: cudaError_t, values 214, 220, 700, 702, 710 and 714 to 719), as CUDA words them.
_FATAL = (
    "uncorrectable ECC error encountered",
    "uncorrectable NVLink error",
    "an illegal memory access was encountered",
    "the launch timed out and was terminated",
    "device-side assert triggered",
    "hardware stack error",
    "an illegal instruction was encountered",
    "misaligned address",
    "operation not supported on global/shared address space",
    "invalid program counter",
    "unspecified launch failure",
)


class ContextDead(Exception):
    """No call to the device works any more in this process. Its message is the traceback."""


def share_memory(stages: Sequence[Stage]) -> None:
    """Limit this process to its pool's part of the GPU's memory. Call it before a model loads.

    Without a limit, torch's cache of one process takes all, and its neighbour runs out of memory.
    """
    share = stages[0].pool.gpus
    if not 0 < share < 1 or all(device_of(one.config) in (None, "cpu") for one in stages):
        return
    try:
        import torch
    except ImportError:  # an engine with a runtime of its own
        return
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)


def is_dead(error: BaseException) -> bool:
    """Whether the CUDA context of this process is dead, after `error`.

    Libraries word the error differently, but a dead context fails in every call, so this one asks.
    """
    if any(text in str(error) for text in _FATAL):
        return True
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
