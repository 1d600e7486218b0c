"""Fit the coefficients in actors/surfaces/statistics.py and report their accuracy.

    python configs/samples/fit_surfaces.py [--receipts FOLDER] [--held-out FOLDER=SURFACE ...]

Training data: the sample documents, scenes and screenshots in this folder, a folder of scanned
receipts, and the photographs inside scikit-image, scikit-learn and ultralytics. All surfaces have
the same weight, and so have all sources of a surface. Accuracy is measured leave-one-out and on
held-out folders.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
from PIL import Image, ImageOps, ImageSequence

from actors.surfaces.settings import SURFACES
from actors.surfaces.statistics import NAMES, numbers

HERE = Path(__file__).resolve().parent
PHOTOS = {
    "skimage": "astronaut.png camera.png chelsea.png coffee.png coins.png motorcycle_left.png "
    "rocket.jpg",
    "sklearn": "china.jpg flower.jpg",
    "ultralytics": "bus.jpg zidane.jpg",
}
RIDGE, STEPS, RATE, SURE = 0.01, 3000, 0.5, 0.8

Floats = npt.NDArray[np.float64]


class Sample(NamedTuple):
    name: str
    source: str
    surface: int
    numbers: Floats


class Fit(NamedTuple):
    mean: Floats
    deviation: Floats
    weights: Floats
    bias: Floats

    def probability(self, found: Floats) -> Floats:
        logits = (found - self.mean) / self.deviation @ self.weights.T + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        whole: Floats = odds / odds.sum(axis=1, keepdims=True)
        return whole


def pictures(path: Path) -> Iterator[Image.Image]:
    """Every page of a file, upright; no page of a truncated file."""
    if path.suffix == ".pdf":
        for page in pdfium.PdfDocument(path, password="nightjar"):
            yield page.render(scale=200 / 72).to_pil()
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield Image.open(io.BytesIO(archive.read(name)))
    elif "torn" not in path.name and path.suffix not in (".json", ".py", ""):
        with Image.open(path) as image:
            for frame in ImageSequence.Iterator(image):
                yield ImageOps.exif_transpose(frame).copy()


def samples(folder: Path, surface: str, names: Sequence[str] | None = None) -> list[Sample]:
    """Statistics of all files in a folder, or of the files in `names`."""
    paths = [folder / name for name in names] if names else sorted(folder.iterdir())
    return [
        Sample(path.name, folder.name, SURFACES.index(surface), counted)
        for path in paths
        if path.is_file()
        for counted in (numbers(one.convert("RGB")).astype(np.float64) for one in pictures(path))
    ]


def photographs() -> list[Sample]:
    """Statistics of the photographs inside installed packages."""
    found = []
    for package, names in PHOTOS.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        for name in names.split():
            places = list(Path(spec.origin).parent.rglob(name))
            found += samples(places[0].parent, "scene", [name]) if places else []
    return [one._replace(source="photographs") for one in found]


def fitted(given: Sequence[Sample], steps: int = STEPS) -> Fit:
    """Multinomial logistic regression by gradient descent on standardised numbers."""
    x = np.array([one.numbers for one in given])
    y = np.eye(len(SURFACES))[[one.surface for one in given]]
    kinds = [(one.surface, one.source) for one in given]
    sources = [len({kind for kind in kinds if kind[0] == surface}) for surface, _ in kinds]
    share = np.array([1 / (n * kinds.count(kind)) for n, kind in zip(sources, kinds, strict=True)])
    share /= share.sum()
    mean = share @ x
    deviation = np.sqrt(share @ (x - mean) ** 2) + 1e-3
    fit = Fit(mean, deviation, np.zeros((len(SURFACES), len(NAMES))), np.zeros(len(SURFACES)))
    for _ in range(steps):
        slope = (fit.probability(x) - y) * share[:, None]
        fit.weights[:] -= RATE * (slope.T @ ((x - mean) / deviation) + RIDGE * fit.weights)
        fit.bias[:] -= RATE * slope.sum(axis=0)
    return fit


def report(title: str, given: Sequence[Sample], probability: Floats) -> None:
    """Print the counts of right and sure guesses, and list the wrong ones."""
    right = probability.argmax(axis=1) == [one.surface for one in given]
    sure = probability.max(axis=1) >= SURE
    print(
        f"{title}: {right.sum()} of {len(given)} right; {sure.sum()} sure (>= {SURE}), "
        f"{(right & sure).sum()} of them right"
    )
    for one, chances, good in zip(given, probability, right, strict=True):
        if not good:
            guess = SURFACES[int(chances.argmax())]
            print(f"  {one.source}/{one.name}: {guess} {chances.max():.2f}")


def main(receipts: Path | None, held_out: Sequence[str]) -> None:
    """Fit, report, and print the coefficients for statistics.py."""
    folders = {"documents": "document", "scenes": "scene", "screenshots": "screenshot"}
    given = [one for name, surface in folders.items() for one in samples(HERE / name, surface)]
    given += photographs()
    if receipts:
        given += [one._replace(source="receipts") for one in samples(receipts, "document")]
    left_out = [
        fitted([*given[:i], *given[i + 1 :]], STEPS // 3).probability(given[i].numbers[None])[0]
        for i in range(len(given))
    ]
    report("leave one out", given, np.array(left_out))
    fit = fitted(given)
    for argument in held_out:
        folder, _, surface = argument.partition("=")
        others = samples(Path(folder), surface)
        report(folder, others, fit.probability(np.array([one.numbers for one in others])))
    np.set_printoptions(precision=3, suppress=True, linewidth=88)
    for name, values in zip(Fit._fields, fit, strict=True):
        print(f"{name} = {np.array2string(values, separator=', ')}")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parents[1]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--receipts", type=Path)
    parser.add_argument("--held-out", nargs="*", default=())
    arguments = parser.parse_args()
    main(arguments.receipts, arguments.held_out)
