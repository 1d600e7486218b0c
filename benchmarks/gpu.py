"""The prepared GPU proof: rates, GPU-busy share, memory, parity and dollars of every model.

    python benchmarks/gpu.py --minutes 8 --out DIR      # on a machine with a GPU
    python benchmarks/gpu.py --device cpu --tiny        # rehearsal: the same steps, small models

One command, one process, one GPU, no network and no Ray. It makes the checkpoints itself: the
architectures of the hub's checkpoints with random weights, so speed and memory are those of real
ones, and boxes and masks are not. The score threshold lets a fixed number of objects through.

Contestants of a section (they take turns, each with the same pictures and the same weights):
- nightjar: our actor on tables of encoded images, in bfloat16
- nightjar with nvjpeg: true: the same, JPEGs decoded on the GPU (Grounding DINO, on cuda)
- library, as users run it: float32, one image at a time. Grounding DINO: transformers' zero-shot
  pipeline, which asks one label at a time. SAM 2: all boxes of an image. SAM 3: one prompt at a
  time, with the image encoder each time
- library, one image at a time, tuned: bfloat16 weights. Grounding DINO: all classes in one prompt.
  SAM 3: the image encoder runs once per image
- floor: the library's forward passes in bfloat16, on inputs that are on the device before the clock
  starts. Ours can be faster: it encodes prompts once, and SAM 3 draws only the masks it needs

Columns:
- GPU busy: seconds of kernels per image, each moment counted once, over seconds per image. Kernels
  are from torch's profiler, in a pass of its own; seconds per image are from the timed turns.
- CPU ms/image: processor time of all threads
- weights MB: of loading; 0 for weights that a row above has loaded
- peak MB above: the allocator's peak in a turn, above all that lay on the device before it
- best of ours is: rate of the fastest batch of ours over the row's

Parity: ours and the library in float32, without TF32, on pictures of two sizes; the limits are in
`parts/gpu/parity.py`. The exit code is 1 if a section is outside them, or if anything failed.

Then one, two and four processes with both models (detector, then its boxes in the segmenter) share
the GPU, which is what `num_gpus` below 1 means in a run.

Sections come in order of importance. Results are written after every step, so that a run that is
cut off leaves them. What does not fit into `--minutes` is skipped and says so.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
import transformers
from parts.gpu import checkpoints, concepts, detection, segmentation
from parts.gpu.meter import Clock
from parts.gpu.proof import Run, Section
from parts.report import head, result_stem

HERE = Path(__file__).parent
#: Defaults of the arguments. `pictures`: different ones of a size; more are the same again.
FULL = {
    "batches": [8, 32, 1],
    "turns": 3,
    "seconds": 1.5,
    "megapixels": [0.3, 2.0],
    "pictures": 16,
    "workers": [1, 2, 4],
}
TINY = {
    "batches": [2, 1],
    "turns": 1,
    "seconds": 0.02,
    "megapixels": [0.03, 0.06],
    "pictures": 4,
    "workers": [1],
}
#: Most important first.
SECTIONS = (
    Section(detection, checkpoints.DINO_TINY),
    Section(segmentation, checkpoints.SAM2_TINY),
    Section(concepts, checkpoints.SAM3),
    Section(detection, checkpoints.DINO_BASE),
    Section(segmentation, checkpoints.SAM2_LARGE),
)
#: On small pictures the networks do the same work, so only ours runs.
SMALL = tuple(Section(one.kind, one.model, large=False, ours_only=True) for one in SECTIONS[:3])


def main() -> int:
    arguments = _arguments()
    clock = Clock(arguments.minutes)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU; rehearse with --device cpu --tiny")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="nightjar-gpu-"))
    report = head(torch.cuda.get_device_name() if arguments.device == "cuda" else None)
    name = "rehearsal-of-gpu" if arguments.rehearsal else "gpu"
    run = Run(arguments, clock, work, report, result_stem(arguments.out, name, report))
    try:
        for section in SECTIONS:
            run.measure(section)
        run.share()
        for section in SMALL:
            run.measure(section)
    finally:
        if arguments.work is None:
            shutil.rmtree(work)
    run.save("The run ended within its time.", show=True)
    return run.exit_code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small models, for a rehearsal")
    parser.add_argument("--minutes", type=float, default=8.0, help="time budget, all in")
    parser.add_argument("--batches", type=int, nargs="+", metavar="N", help="8 32 1; tiny: 2 1")
    parser.add_argument("--turns", type=int, help="3; tiny: 1")
    parser.add_argument("--seconds", type=float, help="of a turn, about: 1.5; tiny: 0.02")
    parser.add_argument("--megapixels", type=float, nargs=2, metavar="N", help="0.3 2")
    parser.add_argument("--pictures", type=int, help="different pictures of a size: 16; tiny: 4")
    parser.add_argument("--workers", type=int, nargs="*", metavar="N", help="1 2 4; tiny: 1")
    parser.add_argument("--dollars", type=float, default=2.5, help="of a GPU hour, assumed: 2.5")
    parser.add_argument("--work", type=Path, help="folder of checkpoints, kept; default: a new one")
    parser.add_argument("--out", type=Path, help="default: results/; a rehearsal's: build/")
    arguments = parser.parse_args()
    for name, value in (TINY if arguments.tiny else FULL).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    arguments.rehearsal = arguments.tiny or arguments.device == "cpu"
    if arguments.rehearsal:
        arguments.dollars = None
    default = HERE.parent / "build/gpu-rehearsal" if arguments.rehearsal else HERE / "results"
    arguments.out = arguments.out or default
    arguments.out.mkdir(parents=True, exist_ok=True)
    return arguments


if __name__ == "__main__":
    raise SystemExit(main())
