"""Trains the pocket segmenter from scratch with box prompts, one mask per box."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from .models import MEAN, SEGMENTER_SIZE, STD, new_segmenter, segmenter_processor, store
from .scenes import Scene, Thing, scene
from .training import Plan, Trainer
from .words import SEEN_KINDS

#: Width and height of the scenes; the processor resizes every image to a square.
FRAMES = ((256, 256), (256, 192), (192, 256))
#: Side of the masks in the loss: half of the input's, twice the decoder's. At the decoder's 64 px a
#: bar of the smallest cross is only 1.5 px wide.
MASK_SIZE = SEGMENTER_SIZE // 2

PLAN = Plan(steps=8000, peak_lr=6e-4)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The parameters that determine the weights, in addition to the plan."""

    seed: int = 12
    batch: int = 6
    boxes: int = 3
    stock: int = 3000  # scenes; each is reused, mirrored and with other boxes


def _squeezed(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The mask (height, width) as coverage, 0..1, of a square of side `MASK_SIZE`."""
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    small = image.resize((MASK_SIZE, MASK_SIZE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / np.float32(255)


def _loose(rng: np.random.Generator, thing: Thing, frame: tuple[int, int]) -> NDArray[np.float32]:
    """The object's box in pixels of the square input, mostly with noise as from a detector."""
    width, height = frame
    scale = SEGMENTER_SIZE / np.array([width, height, width, height], dtype=np.float32)
    box = thing.box * scale
    if rng.random() < 0.75:
        size = np.tile(box[2:] - box[:2], 2)
        box = box + rng.normal(0, 0.04, 4).astype(np.float32) * size
    return np.clip(box, 0, SEGMENTER_SIZE).astype(np.float32)


class Batches:
    """Training batches; batch k depends only on the recipe and k."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.scene = lru_cache(maxsize=None)(self._scene)

    def _scene(self, number: int) -> Scene:
        """The first scene with an object from `number` on, in steps of the stock."""
        frame = FRAMES[number % len(FRAMES)]
        found = scene(self.recipe.seed, number, *frame, SEEN_KINDS)
        return found if found.things else self._scene(number + self.recipe.stock)

    def __call__(self, step: int) -> tuple[dict[str, Tensor], Tensor]:
        """The model's inputs and the target masks (batch, boxes, MASK_SIZE, MASK_SIZE) 0..1."""
        rng = np.random.default_rng([self.recipe.seed, 1, step])
        images, boxes, masks = [], [], []
        for number in rng.integers(0, self.recipe.stock, self.recipe.batch):
            item = self.scene(int(number))
            height, width = item.pixels.shape[:2]
            square = Image.fromarray(item.pixels).resize(
                (SEGMENTER_SIZE, SEGMENTER_SIZE), Image.Resampling.BILINEAR
            )
            order = rng.permutation(len(item.things))
            chosen = [item.things[order[n % len(order)]] for n in range(self.recipe.boxes)]
            prompts = np.stack([_loose(rng, thing, (width, height)) for thing in chosen])
            wanted = np.stack([_squeezed(thing.mask) for thing in chosen])
            pixels = np.asarray(square)
            if rng.random() < 0.5:
                pixels, wanted = pixels[:, ::-1], wanted[:, :, ::-1]
                prompts[:, [0, 2]] = SEGMENTER_SIZE - prompts[:, [2, 0]]
            images.append((pixels.astype(np.float32) / np.float32(255) - MEAN) / STD)
            boxes.append(prompts)
            masks.append(wanted)
        values = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        inputs = {"pixel_values": values, "input_boxes": torch.from_numpy(np.stack(boxes))}
        return inputs, torch.from_numpy(np.stack(masks))


def mask_loss(
    logits: Tensor, wanted: Tensor, iou_guess: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Dice + 5 x binary cross-entropy + squared error of the predicted IoU.

    Args:
        logits: (batch, boxes, 1, h, w), the decoder's masks.
        wanted: (batch, boxes, H, W), 0..1, the targets.
        iou_guess: (batch, boxes, 1), the predicted IoU.
    """
    large = functional.interpolate(
        logits.flatten(0, 2)[:, None], wanted.shape[-2:], mode="bilinear", align_corners=False
    )
    scores, truth = large.flatten(1), wanted.flatten(0, 1).flatten(1)
    chances = scores.sigmoid()
    overlap = (chances * truth).sum(1)
    dice = 1 - (2 * overlap + 1) / (chances.sum(1) + truth.sum(1) + 1)
    entropy = functional.binary_cross_entropy_with_logits(scores, truth)
    with torch.no_grad():
        found, there = scores > 0, truth > 0.5
        iou = (found & there).sum(1) / (found | there).sum(1).clamp(min=1)
    guess = functional.mse_loss(iou_guess.flatten(), iou)
    total = dice.mean() + 5 * entropy + guess
    return total, {"dice": dice.mean(), "bce": entropy, "iou_error": guess, "iou": iou.mean()}


def train(folder: Path, work: Path, plan: Plan, recipe: Recipe) -> None:
    """Train, resume an interrupted run from `work`, and store the checkpoint in `folder`."""
    torch.manual_seed(recipe.seed)
    model = new_segmenter()
    count = sum(p.numel() for p in model.parameters())
    print(f"segmenter of {count:,} parameters", flush=True)
    batches = Batches(recipe)

    def loss_of_step(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        inputs, wanted = batches(step)
        out = model(**inputs, multimask_output=False)
        return mask_loss(out.pred_masks, wanted, out.iou_scores)

    work.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(model, plan, work / "segmenter.pt")
    trainer.run(loss_of_step)
    trainer.use_average()
    notes = {
        "what": "pocket SAM 2 of a toy world; see README.md",
        "recipe": vars(recipe) | {"steps": plan.steps, "peak_lr": plan.peak_lr},
        "minutes_on_one_cpu_core": round(trainer.seconds / 60, 1),
        "parameters": count,
    }
    store(folder, model, segmenter_processor(), notes)
