"""`nightjar pocket`: train the small checkpoints and score them on new scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from jobs.console.fitted import FittedTable
from pipelines.errors import ConfigError


def train(console: Console, model: str, folder: Path, work: Path, steps: int | None) -> None:
    """Train `model` into `folder`; resumes from `work`. Raises ConfigError for an unknown model."""
    import torch

    from actors.pocket import train_detector, train_segmenter

    recipes = {"detector": train_detector, "segmenter": train_segmenter}
    if model not in recipes:
        raise ConfigError(f"no pocket model {model!r}", f"choose one of: {', '.join(recipes)}")
    module = recipes[model]
    torch.set_num_threads(1)  # seeds and published figures hold for one thread
    plan = module.PLAN if steps is None else replace(module.PLAN, steps=steps)
    module.train(folder, work, plan, module.Recipe())
    console.print(f"checkpoint: {folder}")


def evaluate(console: Console, detector: Path, segmenter: Path | None, scenes: int) -> None:
    """Print AP, precision, recall and mask IoU on scenes that were not used for training."""
    import torch

    from actors.pocket.evaluate import evaluate as figures

    torch.set_num_threads(1)
    for folder in (detector, *([segmenter] if segmenter else [])):
        if not (folder / "config.json").exists():
            raise ConfigError(f"no checkpoint in {folder}", "give the directory of a checkpoint")
    with console.status(f"scoring on {scenes} scenes"):
        report = figures(detector, segmenter, scenes)
    table = FittedTable("", "")
    table.show_header = False
    for name, value in report.items():
        table.add_row(name, f"{value:,.0f}" if name in ("scenes", "objects") else f"{value:.4f}")
    console.print(table)
