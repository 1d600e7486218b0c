"""`nightjar pocket`: the small checkpoints of a toy world that come with Nightjar."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    no_args_is_help=True, help="Small checkpoints of a toy world, for demos and tests."
)


@app.command("train")
def train(
    model: Annotated[str, typer.Argument(help="detector or segmenter")],
    folder: Annotated[Path, typer.Argument(help="where the checkpoint goes")],
    work: Annotated[
        Path, typer.Option("--work", help="state; the same command resumes from it")
    ] = Path("runs/pocket"),
    steps: Annotated[
        int | None, typer.Option(min=1, help="less than the recipe's, for a trial")
    ] = None,
) -> None:
    """Train a pocket checkpoint on rendered scenes: seeded, half an hour to two on one core."""
    from jobs.commands import pocket

    pocket.train(Console(), model, folder, work, steps)


@app.command("evaluate")
def evaluate(
    detector: Annotated[Path, typer.Argument(help="directory of the detector")],
    segmenter: Annotated[Path | None, typer.Argument(help="directory of the segmenter")] = None,
    scenes: Annotated[int, typer.Option(min=1, help="fresh scenes to score on")] = 400,
) -> None:
    """Score pocket checkpoints on scenes that were not in training."""
    from jobs.commands import pocket

    pocket.evaluate(Console(), detector, segmenter, scenes)
