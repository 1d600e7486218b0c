"""Freed memory is reused by the next forward pass, without new pages from the kernel."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_sam2 import tiny_checkpoint

ROOT = Path(__file__).parents[2]

#: Prints the page faults of ten like rounds of work with 40 to 160 MB in one piece, after ten more
#: in which the heap grows, in a fresh process.
PROGRAM = """
import sys, threading, torch
from actors.heap import keep_freed_memory
from doubles.frees_large_blocks import faults, small_pages

def work():
    for number in range(20):
        if number == 10:
            before = faults()
        rows = torch.ones(1000, 10_000)
        wide = torch.cat([rows, rows, rows, rows], 1)
        del rows
        wide = wide * 2
    print(faults() - before)

small_pages()
torch.set_num_threads(1)
if "keep" in sys.argv:
    assert keep_freed_memory()
if "segmenter" in sys.argv:
    from actors.segmentation.sam2 import Sam2, Sam2Config
    Sam2(Sam2Config(model=sys.argv[-1], device="cpu"))
if "thread" in sys.argv:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
else:
    work()
"""


def page_faults(*words: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.fixture(scope="module")
def as_it_ships() -> int:
    """360 MB in pages of 4 KB, ten times: 878,920."""
    return page_faults()


#: Now and then the heap has to grow once more, by 160 MB in one of the ten rounds (4 %).
LITTLE = 0.25
GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other heaps are left alone")


@GLIBC
@pytest.mark.parametrize("where", ["main", "thread"])
def test_freed_memory_is_not_fetched_from_the_kernel_again(where: str, as_it_ships: int) -> None:
    assert page_faults("keep", where) < LITTLE * as_it_ships


@GLIBC
def test_a_segmenter_on_a_cpu_keeps_it(tmp_path: Path, as_it_ships: int) -> None:
    model = tiny_checkpoint(tmp_path / "model")
    assert page_faults("segmenter", str(model)) < LITTLE * as_it_ships
