"""Labelling: the library, FiftyOne, ours and the floor on the same images, weights and cores.

    python benchmarks/labelling.py [--quick] [--model DIR] [--segmenter DIR] [--images DIR]
        [--count 64] [--classes 1 5 20] [--repeats 5] [--device cpu] [--dtype float32]
        [--fiftyone] [--only NAME] [--name labelling] [--out DIR]

All contestants run in one process. They start from encoded images and end with boxes or masks in
memory, ours with Arrow columns and masks as run lengths.

Boxes:
- transformers' zero-shot pipeline
- the library (transformers), with one forward pass per class
- the library, with all classes in one prompt
- ours
- two floors: the model on inputs that are prepared before the clock starts. Images of one size
  share a forward pass, up to the size that ours allows (`forward_pixels`). The text is encoded
  once, as in ours, or in every forward pass, as in the library.
- with `--fiftyone`: FiftyOne's `apply_model` over files, with our batch size. The labels go into
  a MongoDB that the benchmark starts.

Masks: the library image by image, ours, and the floor. All get the true boxes; with `--images` they
get the boxes that ours finds, at most eight per image.

Method: one torch thread on a CPU. Ours decodes images in extra threads, so CPU time is reported
too. Our heap settings (`actors/heap.py`) apply to the process and therefore to all contestants.
They take turns (a, b, c, b, c, a ...) after a warm-up; ratios are medians over the repeats.

Parity compares with the library: one image at a time, all classes in one prompt, logits read with
our rule for scores and NMS. It is the number of equal boxes divided by the number of boxes that
either side has. Equal means IoU >= 0.99 and scores within 1e-3 (masks: IoU estimates within 1e-3).
F1 uses each contestant's own boxes at the score threshold and IoU 0.5 with the truth.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import torch
import transformers
from parts.labelling import detectors, segmenters
from parts.labelling.judge import FRESH_SEED, NAMES, Contestant, Sample, from_folder, rendered
from parts.labelling.race import one_after_the_other, progress_lines, race, rows
from parts.report import head, result_stem, spread_text, table, write

HERE = Path(__file__).parent
POCKET = HERE.parent / "configs/autolabel/pocket"

MASKS = "boxes -> masks"
OURS, FLOOR = "nightjar", "floor"
#: (name, detector, segmenter)
BOTH = (
    ("library, image by image, all classes in one prompt", detectors.LIBRARY, segmenters.LIBRARY),
    ("library, image by image, pipeline", detectors.PIPELINE, segmenters.LIBRARY),
    (OURS, detectors.OURS, segmenters.OURS),
    (FLOOR, detectors.FLOOR, segmenters.FLOOR),
)
COLUMNS = [
    "contestant",
    "images/s (median)",
    "spread",
    "ours is",
    "of the floor",
    "CPU ms/image",
    "of the floor, CPU",
]
#: Key of a figure -> heading of its column.
FIGURES = {"f1": "F1", "mask_iou": "mask IoU", "parity": "parity"}


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    transformers.utils.logging.disable_progress_bar()
    if arguments.images is None:
        samples = rendered(arguments.count, arguments.seed)
        images = f"{len(samples)} rendered scenes, seed {arguments.seed}"
    else:
        samples = from_folder(arguments.images, arguments.count)
        images = f"{len(samples)} images of {arguments.images}"
    if not samples:
        raise SystemExit(f"no images in {arguments.images}")
    sections = _sections(arguments, samples)
    report = head() | {
        "model": _named(arguments.model),
        "segmenter": _named(arguments.segmenter) if MASKS in sections else None,
        "images": images,
        "names": NAMES[: max(arguments.classes)],
        "repeats": arguments.repeats,
        "batch": arguments.batch,
        "threshold": arguments.threshold,
        "device": arguments.device,
        "dtype": arguments.dtype,
        "torch_threads": torch.get_num_threads(),
        "engine": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "sections": sections,
    }
    write(result_stem(arguments.out, arguments.name, report), report, _lines(report))
    if MASKS not in sections:
        print(f"\nMasks skipped: {arguments.segmenter} has no segmenter, or no boxes were found.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="8 images, 1 repeat: 30 seconds")
    parser.add_argument("--model", type=Path, default=POCKET / "detector")
    parser.add_argument("--segmenter", type=Path, default=POCKET / "segmenter")
    parser.add_argument("--images", type=Path, help="folder of images; default: rendered scenes")
    parser.add_argument("--seed", type=int, default=FRESH_SEED, help="seed of the rendered scenes")
    parser.add_argument("--count", type=int, help="largest number of images")
    parser.add_argument("--classes", type=int, nargs="+", default=[1, 5, 20], metavar="N")
    parser.add_argument("--threshold", type=float, default=0.4, help="lowest score of a box")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--batch", type=int, default=16, help="rows per batch of our actors")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--dtype", default="float32", help="dtype of ours and the floor; auto: by device"
    )
    parser.add_argument(
        "--only",
        action="append",
        help="name of a contestant that runs beside ours and the floor; repeatable",
    )
    parser.add_argument("--name", default="labelling", help="name of the result files")
    parser.add_argument("--fiftyone", action="store_true", help="also run FiftyOne's apply_model")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    arguments.count = arguments.count or (8 if arguments.quick else 64)
    arguments.warm_up = 1 if arguments.quick else 4
    arguments.repeats = arguments.repeats or (1 if arguments.quick else 5)
    if not 0 < min(arguments.classes) <= max(arguments.classes) <= len(NAMES):
        parser.error(f"--classes must be between 1 and {len(NAMES)}, not {arguments.classes}")
    return arguments


def _sections(arguments: argparse.Namespace, samples: Sequence[Sample]) -> dict[str, Any]:
    """Title -> rows of its table. The last adds masks to the boxes of the last class count."""
    library = detectors.Library(str(arguments.model), arguments.device)
    sections = {}
    count, rounds = len(samples), (arguments.repeats, arguments.warm_up)
    with progress_lines() as progress, _peers(arguments) as peers:
        for task in _tasks(arguments):
            title = f"boxes, {len(task.names)} class{'es' if len(task.names) > 1 else ''}"
            contestants = [*detectors.contestants(library, task), *peers(task)]
            kept = {detectors.OURS, detectors.FLOOR, *(arguments.only or ())}
            if arguments.only:
                contestants = [one for one in contestants if one.name in kept]
            boxes = race(title, contestants, samples, *rounds, progress)
            sections[title] = rows(boxes, detectors.OURS, detectors.FLOOR, count)
        contestants = _mask_contestants(arguments, task, samples)
        if contestants:
            masks = race(MASKS, contestants, samples, *rounds, progress)
            sections[MASKS] = rows(masks, segmenters.OURS, segmenters.FLOOR, count)
            both = {
                name: one_after_the_other(boxes[one], masks[other])
                for name, one, other in BOTH
                if one in boxes
            }
            sections[f"{title}, and their masks"] = rows(both, OURS, FLOOR, count)
    return sections


@contextmanager
def _peers(arguments: argparse.Namespace) -> Iterator[Callable[[detectors.Task], list[Contestant]]]:
    """FiftyOne as a contestant, with --fiftyone only: it needs a database."""
    if not arguments.fiftyone:
        yield lambda task: []
        return
    from parts.labelling import fiftyone_peer as other

    with other.fiftyone() as fo, tempfile.TemporaryDirectory() as folder:
        yield lambda task: [other.contestant(fo, task, Path(folder))]


def _named(folder: Path) -> str:
    """The path, relative to the repository if it is inside."""
    root = HERE.parent
    return str(folder.resolve().relative_to(root) if root in folder.resolve().parents else folder)


def _tasks(arguments: argparse.Namespace) -> list[detectors.Task]:
    return [
        detectors.Task(
            model=str(arguments.model),
            names=NAMES[:count],
            floor=arguments.threshold,
            batch=arguments.batch,
            device=arguments.device,
            dtype=arguments.dtype,
        )
        for count in arguments.classes
    ]


def _mask_contestants(
    arguments: argparse.Namespace, task: detectors.Task, samples: Sequence[Sample]
) -> list[Contestant]:
    """Empty without a segmenter, or without boxes."""
    if not (arguments.segmenter / "config.json").is_file():
        return []
    boxes = detectors.boxes_of(task, samples)
    if not any(boxes):
        return []
    return segmenters.contestants(
        str(arguments.segmenter), boxes, arguments.batch, arguments.device, arguments.dtype
    )


def _lines(report: dict[str, Any]) -> list[str]:
    """The report as Markdown."""
    lines = [
        f"# Labelling, {report['date']}, {report['machine']}",
        "",
        f"Detector {report['model']}, segmenter {report['segmenter']}; {report['images']}, "
        f"{report['repeats']} repeats; {report['device']}, {report['torch_threads']} torch thread, "
        f"batches of {report['batch']}, score threshold {report['threshold']}; ours and the floor "
        f"in {report['dtype']}, the others in float32. "
        f"{report['engine']}.",
    ]
    for title, section in report["sections"].items():
        figures = [key for key in FIGURES if any(key in row for row in section.values())]
        columns = [*COLUMNS, *(FIGURES[key] for key in figures)]
        cells = [_cells(name, row, figures) for name, row in section.items()]
        lines += ["", f"## {title[0].upper()}{title[1:]}", "", *table(columns, cells)]
    return lines


def _cells(name: str, row: dict[str, Any], figures: Sequence[str]) -> list[str]:
    return [
        name,
        f"{row['images_per_s']:.2f}",
        spread_text(row["spread"]),
        f"{row['ours_is']:.2f} x",
        f"{row['of_floor']:.2f}",
        f"{row['cpu_ms_per_image']:.2f}",
        f"{row['cpu_of_floor']:.2f}",
        *(_shown(row.get(key)) for key in figures),
    ]


def _shown(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.3f}"


if __name__ == "__main__":
    main()
