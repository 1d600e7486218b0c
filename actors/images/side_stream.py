"""Prepares the next images on the device while the model runs on the present ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class SideStream:
    """Runs work of other threads on the model's device, beside the model.

    On the model's own stream a copy to the device would wait for all that the model has queued, and
    the model for the copies. Called from threads that prepare images, so that only these wait: from
    ordinary memory, because a copy through pinned memory takes the host as long.
    """

    def __init__(self, device: torch.device) -> None:
        """On a CPU there is no stream: work runs where the pixels are."""
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, work: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
        """`work(pixels)` with the pixels on the device, finished when it returns.

        If the device has no memory for them, the work is done on the host.
        """
        try:
            return self.run(lambda: work(pixels.to(self._device)))
        except torch.OutOfMemoryError:
            pass  # leaving the handler frees the full image; the result may fit
        return work(pixels.cpu()).to(self._device)

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        """`work()`, which makes a tensor on the device, finished when it returns.

        Raises torch.OutOfMemoryError.
        """
        if self._stream is None:
            return work()
        with torch.cuda.stream(self._stream):
            result = work()
        self._stream.synchronize()
        # Its memory belongs to the side stream, and the model reads it on the default one.
        result.record_stream(torch.cuda.default_stream(self._device))
        return result
