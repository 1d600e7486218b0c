"""Make configs/samples/scenes: images of the pocket world, with COCO truth.

    python configs/samples/make_scenes.py [FOLDER]

The scenes show the classes of configs/autolabel/quickstart.yaml and some other classes. No training
run uses seed 7, and five of the classes are colour and shape pairs that training leaves out. Four
more files test special cases: an empty scene, a scene stored sideways with an EXIF orientation, a
grayscale scene (its colours cannot be found) and a truncated file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from actors.pocket.clutter import background
from actors.pocket.scenes import Scene, coco_truth, scene
from actors.pocket.words import Kind

SEED = 7
COUNT = 16
FRAMES = ((320, 256), (256, 320), (384, 256))
LYING = 3  # number of the scene that is stored sideways
ASKED = (
    "red star, blue star, yellow star, blue circle, orange circle, green arrow, blue arrow, "
    "purple heart, red heart, green house, yellow house, red ring"
)
NOT_ASKED = "green circle, purple arrow, yellow ring, orange house, red cross, blue triangle"
ORIENTATION, TURN_LEFT_TO_SEE = 0x0112, 8


def kinds(names: str) -> tuple[Kind, ...]:
    """Parse a list such as ``red star, blue circle``."""
    return tuple(Kind(*name.split()) for name in names.split(", "))


def write_truth(path: Path, scenes: list[Scene], names: list[str]) -> None:
    """Write COCO instances of the classes in ASKED."""
    asked = kinds(ASKED)
    kept = [
        Scene(one.pixels, tuple(thing for thing in one.things if thing.kind in asked))
        for one in scenes
    ]
    truth = coco_truth(kept, asked)
    for image, name in zip(truth["images"], names, strict=True):
        image["file_name"] = name
    path.write_text(json.dumps(truth) + "\n", encoding="utf-8")


def make(folder: Path) -> None:
    """Write all images and ``truth.json`` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    every = kinds(ASKED) + kinds(NOT_ASKED)
    scenes = [scene(SEED, n, *FRAMES[n % len(FRAMES)], every) for n in range(COUNT)]
    names = [f"scene_{number:02d}.jpg" for number in range(COUNT)]
    names[LYING] = "lying_on_its_side.jpg"
    for number, (one, name) in enumerate(zip(scenes, names, strict=True)):
        picture, exif = Image.fromarray(one.pixels), Image.Exif()
        if number == LYING:
            picture = picture.transpose(Image.Transpose.ROTATE_270)
            exif[ORIENTATION] = TURN_LEFT_TO_SEE
        picture.save(folder / name, quality=92, exif=exif)
    bare = background(np.random.default_rng(SEED), *FRAMES[0])
    empty = Scene(np.clip(bare, 0, 255).astype(np.uint8), ())
    Image.fromarray(empty.pixels).save(folder / "empty.jpg", quality=92)
    Image.fromarray(scenes[0].pixels).convert("L").save(folder / "gray.jpg", quality=92)
    whole = (folder / names[1]).read_bytes()
    (folder / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    write_truth(folder / "truth.json", [*scenes, empty], [*names, "empty.jpg"])


if __name__ == "__main__":
    here = Path(__file__).parent / "scenes"
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else here)
