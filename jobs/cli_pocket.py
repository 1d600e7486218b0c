"""The command lines of `nightjar pocket`: small checkpoints for demos and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.console.terminal import Terminal

app = typer.Typer(
    no_args_is_help=True, help="Small checkpoints for rendered scenes, for demos and tests."
)


@app.command("train")
def train(
    model: Annotated[str, typer.Argument(help="detector or segmenter")],
    folder: Annotated[Path, typer.Argument(help="directory for the checkpoint")],
    work: Annotated[
        Path, typer.Option("--work", help="training state; the same command resumes from it")
    ] = Path("runs/pocket"),
    steps: Annotated[
        int | None, typer.Option(min=1, help="training steps; default: as in the recipe")
    ] = None,
) -> None:
    """Train a pocket checkpoint on rendered scenes (seeded; 0.5 to 2 hours on one core)."""
    from jobs.commands import pocket

    pocket.train(Terminal(), model, folder, work, steps)


@app.command("evaluate")
def evaluate(
    detector: Annotated[Path, typer.Argument(help="directory of the detector")],
    segmenter: Annotated[Path | None, typer.Argument(help="directory of the segmenter")] = None,
    scenes: Annotated[int, typer.Option(min=1, help="number of scenes")] = 400,
) -> None:
    """Score pocket checkpoints on scenes that were not used for training."""
    from jobs.commands import pocket

    pocket.evaluate(Terminal(), detector, segmenter, scenes)
