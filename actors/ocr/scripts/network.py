"""The script classifier: a small convolutional network, run with NumPy.

NumPy is in every environment of the readers, and windows have one size, so that no runtime has to
be loaded for 60,000 weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

WEIGHTS = Path(__file__).with_name("weights.npz")
#: (stride, padding) of each convolution.
LAYERS = ((2, 2), (2, 1), (2, 1), (1, 0))


class Network:
    """Four convolutions with ReLU, mean and maximum over the columns, and one linear layer."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        with np.load(weights, allow_pickle=False) as stored:
            arrays = {key: stored[key].astype(np.float32) for key in stored.files}
        self._kernels = [
            np.ascontiguousarray(arrays[f"kernel{i}"].transpose(1, 2, 0, 3))
            for i in range(len(LAYERS))
        ]
        self._biases = [arrays[f"bias{i}"] for i in range(len(LAYERS))]
        self._head, self._head_bias = arrays["head"], arrays["head_bias"]

    def logits(self, windows: Floats) -> Floats:
        """(n, CLASSES) float32 of windows (n, 32, 128); see `windows.windows`."""
        maps = windows[..., None]
        for kernel, bias, (stride, padding) in zip(
            self._kernels, self._biases, LAYERS, strict=True
        ):
            maps = np.maximum(_convolved(maps, kernel, stride, padding) + bias, 0)
        columns = maps[:, 0]
        features = np.concatenate([columns.mean(axis=1), columns.max(axis=1)], axis=1)
        found: Floats = features @ self._head + self._head_bias
        return found


def _convolved(maps: Floats, kernel: Floats, stride: int, padding: int) -> Floats:
    """Maps (n, h, w, in) convolved with a kernel (rows, columns, in, out), as one product."""
    rows, columns, channels, _ = kernel.shape
    pad = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(maps, pad) if padding else maps
    height = (padded.shape[1] - rows) // stride + 1
    width = (padded.shape[2] - columns) // stride + 1
    patches = np.empty((len(maps), height, width, rows, columns, channels), np.float32)
    for row in range(rows):
        for column in range(columns):
            taken = padded[:, row : row + stride * height : stride]
            patches[:, :, :, row, column] = taken[:, :, column : column + stride * width : stride]
    flat = patches.reshape(-1, rows * columns * channels)
    found: Floats = (flat @ kernel.reshape(flat.shape[1], -1)).reshape(*patches.shape[:3], -1)
    return found
