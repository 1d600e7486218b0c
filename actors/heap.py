"""The C library's heap: tensors that a forward freed stay mapped for the next one."""

from __future__ import annotations

import ctypes

#: Numbers of `mallopt`, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to hand nothing that was freed back to the kernel; False where there is no glibc.

    As it ships, it maps every block above 32 MB anew and unmaps it when it is freed; the kernel
    fetches and clears each page of it each time. One CPU thread, grounding-dino-tiny at 800 x 800:
    2.1 million page faults and 12.1 s per forward, without them 7.9 s; resident memory at most
    2.8 GB in place of 2.6. Holds for the whole process. Threads share one heap, because blocks
    above 64 MB do not fit those that glibc gives to each thread (10.0 s); that holds for threads to
    come, in Ray's workers `pipelines/engine/environments.py` sees to it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = ((_TRIM_THRESHOLD, _MOST), (_MMAP_THRESHOLD, _MOST), (_ARENA_MAX, 1))
    return all(mallopt(option, value) == 1 for option, value in wanted)
