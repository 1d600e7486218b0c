"""Decodes JPEGs on the model's device: with torchvision, which calls nvJPEG on cuda."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from actors.images.side_stream import SideStream


class DeviceJpeg:
    """Decodes JPEG files of gray and RGB pixels on a device, beside the model.

    On a CPU the pixels are those of OpenCV. nvJPEG rounds differently.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._beside = device, SideStream(device)

    def __call__(self, data: bytes) -> Tensor | None:
        """uint8 (3, height, width), RGB, on the device, as it lies in the file.

        None if it cannot decode the file, or if the device has no memory left.
        """
        encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        try:
            return self._beside.run(
                lambda: decode_jpeg(encoded, mode=ImageReadMode.RGB, device=self._device)
            )
        except RuntimeError:  # also torch.OutOfMemoryError
            return None


def device_jpeg(wanted: bool, device: torch.device) -> DeviceJpeg | None:
    """The decoder for the setting `nvjpeg`; None: not wanted, or the model runs on a CPU."""
    return DeviceJpeg(device) if wanted and device.type == "cuda" else None
