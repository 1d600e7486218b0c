"""The script classifier: a small convolutional network, run with NumPy.

NumPy is in every environment of the readers, and windows have one size, so that no runtime has to
be loaded for 60,000 weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from safetensors.numpy import load_file

Floats = npt.NDArray[np.float32]

WEIGHTS = Path(__file__).with_name("weights.safetensors")
#: (stride, padding) of each convolution.
LAYERS = ((2, 2), (2, 1), (2, 1), (1, 0))


class Network:
    """Four convolutions with ReLU, mean and maximum over the columns, and one linear layer."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        stored = load_file(str(weights))
        arrays = {key: values.astype(np.float32) for key, values in stored.items()}
        self._kernels = [arrays[f"kernel{i}"] for i in range(len(LAYERS))]
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
    """Maps (n, h, w, in) convolved with a kernel (in, rows, columns, out)."""
    pad = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    patches = sliding_window_view(np.pad(maps, pad), kernel.shape[1:3], axis=(1, 2))
    patches = patches[:, ::stride, ::stride]
    shape = patches.shape[:3]
    flat = patches.reshape(-1, kernel.shape[0] * kernel.shape[1] * kernel.shape[2])
    found: Floats = (flat @ kernel.reshape(flat.shape[1], -1)).reshape(*shape, -1)
    return found
