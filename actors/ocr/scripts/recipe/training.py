"""Trains the script classifier on rendered lines and stores its weights.

    python -m actors.ocr.scripts.recipe.training [--lines 600] [--epochs 12]

It needs Debian's packages `fonts-noto-core fonts-noto-extra fonts-noto-cjk fonts-freefont-ttf
fonts-dejavu fonts-liberation fonts-thai-tlwg tesseract-ocr tesseract-ocr-{deu,fra,vie,rus,ell,ara,
heb,hin,tha,kor,chi-sim,jpn}`. With the defaults it takes ten minutes on one core.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from actors.ocr.scripts.classes import CLASSES, NONE
from actors.ocr.scripts.network import LAYERS, WEIGHTS
from actors.ocr.scripts.recipe.rendering import crop
from actors.ocr.scripts.windows import windows

Bytes = npt.NDArray[np.uint8]

#: Lines of a class in proportion to `--lines`. Latin has the most languages and fonts.
_MORE = {"Latn": 5, "Viet": 2, "Cyrl": 2, "Grek": 2, "Hani": 2, NONE: 2}
_BATCH, _RATE, _SMOOTHING = 128, 4e-3, 0.05
#: Channels after each convolution, and rows and columns of its kernel.
_CHANNELS = (1, 12, 24, 48, 80)
_KERNELS = ((5, 5), (3, 3), (3, 3), (4, 3))


class Trained(nn.Module):
    """`network.Network` with batch normalisation, for training."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for place, (kernel, (stride, padding)) in enumerate(zip(_KERNELS, LAYERS, strict=True)):
            shape = _CHANNELS[place], _CHANNELS[place + 1]
            layers += [
                nn.Conv2d(*shape, kernel, stride, padding),
                nn.BatchNorm2d(shape[1]),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * _CHANNELS[-1], len(CLASSES))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, CLASSES) of windows (n, 1, 32, 128)."""
        columns = self.body(pixels)[:, :, 0]
        found: Tensor = self.head(torch.cat([columns.mean(dim=2), columns.amax(dim=2)], dim=1))
        return found

    def stored(self) -> dict[str, npt.NDArray[np.float16]]:
        """The arrays that `Network` loads; batch normalisation is folded into the kernels."""
        arrays: dict[str, Tensor] = {}
        parts = list(self.body)
        for place in range(len(LAYERS)):
            convolution, norm = parts[3 * place], parts[3 * place + 1]
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_var is not None
            assert norm.running_mean is not None
            assert convolution.bias is not None
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            kernel = convolution.weight * scale[:, None, None, None]
            arrays[f"kernel{place}"] = kernel.permute(1, 2, 3, 0)
            arrays[f"bias{place}"] = (convolution.bias - norm.running_mean) * scale + norm.bias
        arrays["head"], arrays["head_bias"] = self.head.weight.T, self.head.bias
        return {
            name: np.ascontiguousarray(values.detach().numpy().astype(np.float16))
            for name, values in arrays.items()
        }


def rendered(lines: int, seed: int, held_out: bool = False) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """Windows (n, 32, 128), as bytes to save memory, and their classes (n,)."""
    found: list[Bytes] = []
    classes: list[int] = []
    for place, name in enumerate(CLASSES):
        chance = random.Random(seed * 1000 + place)
        for _ in range(lines * _MORE.get(name, 1)):
            cut = windows(crop(name, chance, held_out), 2)
            found.append(np.clip((cut + 0.5) * 100, 0, 255).astype(np.uint8))
            classes += [place] * len(cut)
    return np.concatenate(found), np.array(classes, np.int64)


def trained(cut: Bytes, classes: npt.NDArray[np.int64], epochs: int) -> Trained:
    """AdamW with one cycle of the learning rate; windows are shifted at random."""
    network, chance = Trained(), np.random.default_rng(0)
    steps = epochs * (len(cut) // _BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
    targets = torch.from_numpy(classes)
    for epoch in range(epochs):
        order, total = chance.permutation(len(cut)), 0.0
        for start in range(0, len(cut) - _BATCH + 1, _BATCH):
            batch = np.sort(order[start : start + _BATCH])
            pixels = torch.from_numpy(cut[batch].astype(np.float32) / 100 - 0.5)[:, None]
            shift = (int(chance.integers(-2, 3)), int(chance.integers(-3, 4)))
            logits = network(torch.roll(pixels, shift, (2, 3)))
            loss = functional.cross_entropy(logits, targets[batch], label_smoothing=_SMOOTHING)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            cycle.step()
            total += float(loss.detach())
        print(f"epoch {epoch}: loss {total * _BATCH / len(cut):.3f}", flush=True)
    return network.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    """Render, train and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lines", type=int, default=600, help="lines of each class")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    chosen = parser.parse_args(arguments)
    torch.manual_seed(0)
    network = trained(*rendered(chosen.lines, seed=2), chosen.epochs)
    arrays: dict[str, Any] = {**network.stored()}
    np.savez(chosen.out, **arrays)


if __name__ == "__main__":
    main()
