"""`nightjar plan --measure`: batch sizes at which the config's models are fastest here."""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from PIL import Image
from rich.console import Console
from rich.table import Table

from actors.failures import SetupError
from jobs.console.terminal import begun
from pipelines.config import JobConfig
from pipelines.engine.sizes.batch_sizes import Growth, knobs_of, measured, stepped
from pipelines.errors import ConfigError, WeightsMissing
from pipelines.flow import Flow, Stage
from pipelines.run import Run
from pipelines.runs.shards import owed


def images_of(run: Run, count: int) -> list[bytes]:
    """The first images of the run that are still to do, as its fetch stage delivers them.

    Raises ConfigError if there are none.
    """
    stage = run.flow().stages[0]
    images: list[bytes] = []
    for _, rows in owed(run.directory):
        fetched = stage.actor(stage.here().settings)(rows.slice(0, count - len(images)))
        images += [image for image in fetched["image"].to_pylist() if image is not None]
        if len(images) >= count:
            break
    if not images:
        raise ConfigError(
            "no image of this run is left to measure with",
            "give the size of your images instead, e.g. --size 1920x1080",
        )
    return images


def rendered(size: str, count: int) -> list[bytes]:
    """JPEGs of coloured patches of this size, "WIDTHxHEIGHT". Raises ConfigError."""
    try:
        width, height = (int(side) for side in size.split("x"))
        canvas = Image.new("RGB", (width, height))
    except ValueError as error:
        raise ConfigError(f"--size {size}: {error}", "write it as 1920x1080") from error
    draw, images = random.Random(0), []
    for _ in range(count):
        patches = Image.frombytes("RGB", (32, 24), draw.randbytes(32 * 24 * 3))
        canvas = patches.resize((width, height), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        canvas.save(file, "JPEG", quality=90)
        images.append(file.getvalue())
    return images


def measure(
    console: Console, flow: Flow, config: JobConfig, images: Sequence[bytes], seconds: float
) -> None:
    """Measure each model of `flow` that has a batch size; print tables and lines for the config.

    `seconds`: for each setting. Raises WeightsMissing, and ConfigError if no model has any.
    """
    stages = [stage for stage in flow.stages if knobs_of(stage)]
    here = [stage for stage in stages if not stage.pool.isolated]
    if not here:
        raise ConfigError(
            "no model of this config has a batch size that can be measured here",
            "leave out --measure",
        )
    rows = pa.table({"image": pa.array(images, pa.binary())})
    alike = rows.take(_alike(images))
    lines: dict[str, dict[str, int]] = {}
    for stage in here:
        try:
            with console.status(f"measuring {stage.name}"):
                found = _growths(stage, _with_boxes(stage, alike), rows, seconds)
                if any("boxes" in later.actor.reads.names for later in here):
                    alike = _seen(stage, alike)
        except SetupError as error:
            raise WeightsMissing(
                f"{stage.name} cannot start: {error.message}", error.remedy
            ) from error
        _print(console, stage, found, images)
        _note(lines, config, stage, found)
    _print_config(console, lines)


def _growths(stage: Stage, alike: pa.Table, mixed: pa.Table, seconds: float) -> list[Growth]:
    """All settings of one model, one after the other."""
    changes: dict[str, int] = {}
    growths = []
    for knob in knobs_of(stage):
        growth = measured(stage, knob, alike, seconds, changes)
        growths.append(growth)
        if growth.best:
            changes[knob.key] = growth.best.value
    sizes = len(_sizes(mixed["image"].to_pylist()))
    if "size_step" in type(stage.config).model_fields and sizes > 1:
        many = [number % len(mixed) for number in range(stage.pool.batch_size)]
        growths.append(stepped(stage, mixed.take(many), changes))
    return growths


def _seen(stage: Stage, rows: pa.Table) -> pa.Table:
    """`rows` with the boxes that the model finds, if it finds any."""
    if "boxes" not in stage.actor.writes.names:
        return rows
    return stage.actor(stage.here().settings)(rows).select(["image", "boxes"])


def _with_boxes(stage: Stage, rows: pa.Table) -> pa.Table:
    """`rows` for a model that reads boxes: those with boxes, or all with a box made up."""
    if "boxes" not in stage.actor.reads.names:
        return rows.select(["image"])
    kind = stage.actor.reads.field("boxes").type
    boxes = rows["boxes"].to_pylist() if "boxes" in rows.column_names else [None] * len(rows)
    places = [number for number, found in enumerate(boxes) if found]
    if places:
        return rows.take(places)
    made_up = [[_middle(image)] for image in rows["image"].to_pylist()]
    return pa.table({"image": rows["image"], "boxes": pa.array(made_up, kind)})


def _middle(image: bytes) -> dict[str, Any]:
    """An instance in the middle of an image."""
    width, height = Image.open(io.BytesIO(image)).size
    return {"box": [width / 4, height / 4, 3 * width / 4, 3 * height / 4]}


def _sizes(images: Sequence[bytes]) -> Counter[tuple[int, int]]:
    return Counter(Image.open(io.BytesIO(image)).size for image in images)


def _alike(images: Sequence[bytes]) -> list[int]:
    """Indices of the images of the most frequent size."""
    ((size, _),) = _sizes(images).most_common(1)
    return [
        number for number, image in enumerate(images) if Image.open(io.BytesIO(image)).size == size
    ]


def _print(
    console: Console, stage: Stage, found: Sequence[Growth], images: Sequence[bytes]
) -> None:
    ((width, height), _), *_ = _sizes(images).most_common(1)
    console.print()
    begun(console, stage.name, f"  images of {width} x {height} px")
    for growth in found:
        knob, step = growth.knob, growth.knob.key == "size_step"
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in (knob.key if step else f"{knob.items} at once", f"{knob.items}/s", "memory"):
            table.add_column(heading, justify="right")
        for size in growth.sizes:
            table.add_row(f"{size.batch:,}", f"{size.rate:,.2f}", f"{size.memory / 1e9:,.2f} GB")
        console.print(table)
        console.print(f"{knob.key}: {growth.ended}", highlight=False)


def _note(
    lines: dict[str, dict[str, int]], config: JobConfig, stage: Stage, found: Sequence[Growth]
) -> None:
    """Add what was found to `lines`: group of the config -> key -> value."""
    named = [name for name in type(config).model_fields if getattr(config, name) is stage.config]
    group = named[0] if named else stage.name
    best = {growth.knob: growth.best for growth in found if growth.best}
    changed = {
        knob.key: size.value
        for knob, size in best.items()
        if size.value != getattr(stage.config, knob.key)
    }
    if changed:
        lines[group] = changed
    # Twice the batch of the model: the next one is decoded while it runs.
    rows = [
        2 * size.batch
        for knob, size in best.items()
        if knob.key != "size_step" and knob.items == "images"
    ]
    pools = [name for name in type(config).model_fields if getattr(config, name) is stage.pool]
    for pool in pools:
        wanted = max([stage.pool.batch_size, *rows, *lines.get(pool, {}).values()])
        if wanted > stage.pool.batch_size:
            lines[pool] = {"batch_size": wanted}


def _print_config(console: Console, lines: dict[str, dict[str, int]]) -> None:
    """Print the keys for the config."""
    if not lines:
        console.print("\nThe config has these batch sizes already.")
        return
    console.print("\nIn the config:\n")
    for group, keys in lines.items():
        text = "\n".join([f"{group}:", *(f"  {key}: {value}" for key, value in keys.items())])
        console.print(text, markup=False, highlight=False)
