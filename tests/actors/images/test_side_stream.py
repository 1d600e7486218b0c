"""Images prepared beside the model: the same pixels, wherever the device has room for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from actors.images.side_stream import SideStream

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def halved(pixels: Tensor) -> Tensor:
    return pixels[:, ::2, ::2].contiguous()


def images(count: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, 60, 80), dtype=torch.uint8, generator=draw)] * count


def test_on_a_cpu_the_work_is_done_where_the_pixels_are() -> None:
    (pixels,) = images(1)
    beside = SideStream(torch.device("cpu"))
    assert torch.equal(beside(halved, pixels), halved(pixels))
    assert beside(lambda same: same, pixels) is pixels


@CUDA
def test_on_a_gpu_threads_give_the_same_pixels_while_the_model_runs() -> None:
    device = torch.device("cuda")
    beside, several = SideStream(device), images(64)
    weights = torch.randn(2048, 2048, device=device)
    with ThreadPoolExecutor(4) as threads:
        ready = threads.map(lambda pixels: beside(halved, pixels), several)
        for _ in range(50):
            weights = (weights @ weights).tanh()
        found = list(ready)
    assert all(one.device.type == "cuda" for one in found)
    assert torch.equal(torch.stack(found).cpu(), torch.stack([halved(one) for one in several]))


@CUDA
def test_work_that_finds_no_memory_on_a_gpu_is_done_on_the_host() -> None:
    def needs_too_much(pixels: Tensor) -> Tensor:
        if pixels.device.type == "cuda":
            torch.empty(1 << 50, dtype=torch.uint8, device=pixels.device)
        return halved(pixels)

    (pixels,) = images(1)
    found = SideStream(torch.device("cuda"))(needs_too_much, pixels)
    assert found.device.type == "cuda"
    assert torch.equal(found.cpu(), halved(pixels))
