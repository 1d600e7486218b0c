"""Trains the pocket detector from scratch on rendered scenes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_convert

from .grounding_loss import Targets, decoder_loss, encoder_loss
from .models import MEAN, STD, detector_processor, new_detector, store, tokenizer
from .prompts import draw_prompt, means, sentence
from .scenes import Scene, scene
from .training import Plan, Trainer
from .words import SEEN_KINDS

#: Width and height of the training scenes: the processor's sizes for square and 4:3 images.
FRAMES = ((128, 128), (160, 128), (128, 160), (160, 120))
#: Share of the steps with frames of three quarters of the width and height. Such a step takes a
#: little over half the time, and the weights carry over.
SMALL_UNTIL = 0.75
#: Maximum share of prompts for pairs, and the share of the steps until it is reached. Training
#: starts with single words.
PAIR_SHARE, WORDS_UNTIL = 0.75, 0.15

PLAN = Plan(steps=6000, peak_lr=1e-3)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The parameters that determine the weights, in addition to the plan."""

    seed: int = 11
    batch: int = 16
    stock: int = 12000  # scenes; each is reused, mirrored and with other prompts
    phrases: tuple[int, int] = (3, 20)


class Batches:
    """Training batches; batch k depends only on the recipe and k."""

    def __init__(self, recipe: Recipe, steps: int) -> None:
        self.recipe = recipe
        self.steps = steps
        self.tokenizer = tokenizer()
        self.scene = lru_cache(maxsize=None)(self._scene)

    def _scene(self, number: int, small: bool) -> Scene:
        width, height = FRAMES[number % len(FRAMES)]
        if small:
            width, height = width * 3 // 4, height * 3 // 4
        return scene(self.recipe.seed, number, width, height, SEEN_KINDS)

    def _numbers(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Scene numbers of a batch, mostly of one frame; one batch in five mixes frames."""
        groups = self.recipe.stock // len(FRAMES)
        chosen = rng.integers(0, groups, self.recipe.batch) * len(FRAMES)
        if rng.random() < 0.2:
            return chosen + rng.integers(0, len(FRAMES), self.recipe.batch)
        # Square frames are the cheapest, so half of the batches use them.
        return chosen + (0 if rng.random() < 0.5 else int(rng.integers(1, len(FRAMES))))

    def __call__(self, step: int) -> tuple[dict[str, Tensor], Targets]:
        """The model's inputs and the targets of `layered_loss` for one step."""
        rng = np.random.default_rng([self.recipe.seed, 1, step])
        done = step / self.steps
        pairs = PAIR_SHARE * min(1.0, done / WORDS_UNTIL)
        small = done < SMALL_UNTIL
        scenes = [self.scene(int(number), small) for number in self._numbers(rng)]
        size = int(rng.integers(self.recipe.phrases[0], self.recipe.phrases[1] + 1))
        texts, targets, images = [], [], []
        for item in scenes:
            mirrored = rng.random() < 0.5
            kinds = [thing.kind for thing in item.things]
            phrases, asked = draw_prompt(rng, kinds, size, pairs)
            wanted = np.array(
                [[a is not None and means(a, kind) for a in asked] for kind in kinds], dtype=bool
            ).reshape(len(kinds), len(asked))
            texts.append(sentence(phrases))
            targets.append(_target(item, wanted, mirrored))
            images.append(item.pixels[:, ::-1] if mirrored else item.pixels)
        inputs = dict(self.tokenizer(texts, padding=True, return_tensors="pt"))
        return inputs | _collate(images), targets


def _target(item: Scene, wanted: NDArray[np.bool_], mirrored: bool) -> dict[str, Tensor]:
    """The targets of an image: boxes (n, 4) cxcywh 0..1 of the prompted objects, and phrases."""
    height, width = item.pixels.shape[:2]
    keep = wanted.any(axis=1)
    corners = np.array([thing.box for thing in item.things], dtype=np.float32).reshape(-1, 4)
    boxes = torch.from_numpy(corners[keep]) / torch.tensor([width, height, width, height])
    boxes = box_convert(boxes, "xyxy", "cxcywh")
    if mirrored:
        boxes[:, 0] = 1 - boxes[:, 0]
    return {
        "class_labels": torch.arange(len(boxes)),
        "boxes": boxes,
        "wanted_by": torch.from_numpy(wanted[keep]),
    }


def _collate(images: list[NDArray[np.uint8]]) -> dict[str, Tensor]:
    """Normalise and zero-pad at the right and the bottom, as in the processor."""
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    pixels = np.zeros((len(images), height, width, 3), dtype=np.float32)
    mask = torch.zeros((len(images), height, width), dtype=torch.long)
    for row, image in enumerate(images):
        scaled = image.astype(np.float32) / np.float32(255)
        pixels[row, : image.shape[0], : image.shape[1]] = (scaled - MEAN) / STD
        mask[row, : image.shape[0], : image.shape[1]] = 1
    values = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    return {"pixel_values": values, "pixel_mask": mask}


def train(folder: Path, work: Path, plan: Plan, recipe: Recipe) -> None:
    """Train, resume an interrupted run from `work`, and store the checkpoint in `folder`."""
    torch.manual_seed(recipe.seed)
    model = new_detector()
    count = sum(p.numel() for p in model.parameters())
    print(f"detector of {count:,} parameters", flush=True)
    batches = Batches(recipe, plan.steps)
    model.loss_function = decoder_loss

    def loss_of_step(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        inputs, targets = batches(step)
        out = model(**inputs, labels=targets)
        proposals = encoder_loss(model.config, out, inputs, targets)
        return out.loss + proposals, out.loss_dict | {"encoder": proposals}

    work.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(model, plan, work / "detector.pt")
    trainer.run(loss_of_step)
    trainer.use_average()
    notes = {
        "what": "pocket Grounding DINO of a toy world; see README.md",
        "recipe": vars(recipe) | {"steps": plan.steps, "peak_lr": plan.peak_lr},
        "minutes_on_one_cpu_core": round(trainer.seconds / 60, 1),
        "parameters": count,
    }
    store(folder, model, detector_processor(), notes)
