"""Letterbox: an image scaled to fit the model's input, with grey borders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

#: Gray value of ultralytics, in training and prediction.
GREY = 114


@dataclass(frozen=True)
class Letterbox:
    """Position of an image in the model's input, as ultralytics' `LetterBox(auto=True)`.

    The longer side is scaled to the model's size and the shorter by the same factor. Both are then
    padded to a multiple of the stride, equally on both sides. The input's size depends only on the
    image, so results do not depend on other images of the batch.

    Attributes:
        height, width: size of the image, pixels.
        size: height, width of the image in the model's input; at least 1 pixel.
        padded: height, width of the model's input.
        offset: top, left of the image in the input.
    """

    height: int
    width: int
    size: tuple[int, int]
    padded: tuple[int, int]
    offset: tuple[int, int]

    @staticmethod
    def of(height: int, width: int, longest: int, stride: int) -> Letterbox:
        """`longest`: side of the model's input, a multiple of `stride`, pixels."""
        gain = min(longest / height, longest / width)
        size = max(round(height * gain), 1), max(round(width * gain), 1)
        gaps = [(longest - side) % stride for side in size]
        padded = size[0] + gaps[0], size[1] + gaps[1]
        return Letterbox(height, width, size, padded, (gaps[0] // 2, gaps[1] // 2))

    def filled(self, pixels: Tensor) -> npt.NDArray[np.uint8]:
        """The model's input, uint8 (padded height, padded width, 3).

        It resizes with OpenCV, as in the model's training. `pixels`: uint8 (3, height, width).
        """
        top, left = self.offset
        height, width = self.size
        canvas = np.full((*self.padded, 3), GREY, np.uint8)
        image = pixels.permute(1, 2, 0).numpy()
        if (self.height, self.width) != self.size:
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        canvas[top : top + height, left : left + width] = image
        return canvas

    def in_image(self, boxes: Tensor) -> Tensor:
        """Convert boxes (n, 4), x0, y0, x1, y1, from the input to the image, without clipping."""
        (top, left), (height, width) = self.offset, self.size
        shift = torch.tensor([left, top] * 2, dtype=boxes.dtype)
        scale = torch.tensor([width / self.width, height / self.height] * 2, dtype=boxes.dtype)
        return (boxes - shift) / scale

    def clipped(self, boxes: Tensor) -> Tensor:
        """Clip boxes (n, 4) of the image to 0..width and 0..height."""
        edges = torch.tensor([self.width, self.height] * 2, dtype=boxes.dtype)
        return boxes.clamp(torch.zeros_like(edges), edges)


def stacked(canvases: Sequence[npt.NDArray[np.uint8]], device: torch.device) -> Tensor:
    """uint8 (n, 3, height, width) on the device."""
    return torch.from_numpy(np.stack(canvases)).to(device).permute(0, 3, 1, 2)
