"""Thresholds of classes hold on images that the calibration has not seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hand_made_runs import CLASSES, IMAGES, ONTOLOGY, label, stored, write_run

from actors.ontology import Ontology
from jobs.commands.calibrate_labels import yaml_of
from pipelines.calibration.labels import FEWEST, Thresholds, calibrate_detections
from pipelines.errors import ConfigError
from pipelines.measures.thresholds import best_f1, precision_of, threshold_for
from pipelines.runs.directory import RunDir
from pipelines.truth.labels import read_beside_truth

STAR, BLUE, HOUSE = CLASSES
NOW = ONTOLOGY["threshold"]


class Toy:
    """Images with objects in places of their own; what a detector says of each is drawn."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.rows: list[dict[str, Any]] = []
        self.truth: dict[str, list[Any]] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": n + 5, "name": name} for n, name in enumerate(CLASSES)],
        }

    def image(self, objects: dict[str, int], ghosts: dict[str, int]) -> None:
        """An image with so many objects of each class, and so many labels on nothing."""
        number = len(self.rows)
        path = Path(f"/images/{number:03d}.jpg")
        image = {"id": number, "file_name": path.name, "width": 160, "height": 120}
        self.truth["images"].append(image)
        labels, places = [], iter(self._random.permutation(24).tolist())
        for name, count in objects.items():
            for _ in range(count):
                box = _box(next(places))
                self._object(number, name, box)
                labels.append(self._label(name, box, self._random.uniform(0.35, 0.95)))
        for name, count in ghosts.items():
            for _ in range(count):
                labels.append(self._label(name, _box(next(places)), self._random.uniform(0.1, 0.6)))
        width = {"width": 160, "height": 120, "outcome": "accepted"}
        self.rows.append(stored(number, path, instances=labels, **width))

    def _object(self, image: int, name: str, box: tuple[int, int, int, int]) -> None:
        x0, y0, x1, y1 = box
        one = {"id": len(self.truth["annotations"]), "image_id": image}  # ids from 0: allowed
        one |= {"category_id": CLASSES.index(name) + 5, "bbox": [x0, y0, x1 - x0, y1 - y0]}
        self.truth["annotations"].append(one)

    def _label(self, name: str, box: tuple[int, int, int, int], score: float) -> dict[str, Any]:
        reasons = [] if score >= NOW else ["below_threshold"]
        return label(name, box, score=score, reasons=reasons)

    def written(self, folder: Path, *, min_score: float | None = 0.1) -> tuple[RunDir, Path]:
        run = write_run(folder / "run", "autolabel", IMAGES, self.rows[::2], self.rows[1::2])
        record = run.read_record()
        record["config"]["detector"]["min_score"] = min_score
        run.write_record(record)
        path = folder / "truth.json"
        path.write_text(json.dumps(self.truth))
        return run, path


def _box(place: int) -> tuple[int, int, int, int]:
    """One of 24 places that do not touch."""
    x, y = 26 * (place % 6) + 2, 28 * (place // 6) + 2
    return x, y, x + 20, y + 20


def toy(seed: int = 0, images: int = 60) -> Toy:
    """Two stars, a blue star on every second image, three houses in all; ghosts of each."""
    made = Toy(seed)
    for number in range(images):
        objects = {STAR: 2, BLUE: number % 2, HOUSE: int(number < 3)}
        made.image(objects, {STAR: 2, BLUE: 1, HOUSE: int(number % 10 == 0)})
    return made


def calibrated(run: RunDir, truth: Path, target_precision: float | None) -> Thresholds:
    return calibrate_detections(read_beside_truth(run, truth), target_precision)


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Thresholds:
    return calibrated(*toy().written(tmp_path_factory.mktemp("best")), None)


def test_the_best_f1_is_between_objects_and_ghosts(best: Thresholds) -> None:
    star, blue = best.own
    assert (star.members, star.objects, star.candidates) == ((STAR,), 120, 240)
    assert (blue.members, blue.objects) == ((BLUE,), 30)
    assert star.threshold is not None
    assert 0.3 < star.threshold < NOW, "below the present one: the run kept candidates"
    assert star.after.f1 is not None
    assert star.before.f1 is not None
    assert star.after.f1 > star.before.f1 + 0.01
    for group in best.own:
        for figure in (group.after.precision, group.after.recall):
            assert figure is not None
            assert figure.low <= figure.value <= figure.high
    star_width, blue_width = (g.after.recall.high - g.after.recall.low for g in best.own)  # type: ignore[union-attr]
    assert star_width < blue_width, "more objects, narrower intervals"


def test_a_target_precision_holds_on_fresh_images(tmp_path: Path) -> None:
    run, truth = toy(images=120).written(tmp_path / "a")
    (tmp_path / "b").mkdir()
    found = calibrated(run, truth, 0.95)
    star = found.own[0]
    assert star.threshold is not None
    assert star.after.precision is not None
    assert star.after.precision.value == pytest.approx(0.95, abs=0.03)
    fresh = toy(seed=9, images=200)
    scores, right = _stars(fresh)
    taken = scores >= star.threshold
    assert right[taken].mean() == pytest.approx(0.95, abs=0.03)
    assert taken[right].mean() > 0.6


def _stars(of: Toy) -> tuple[Any, Any]:
    """Scores of all star labels, and which are right: the first two of an image."""
    labels = [label for row in of.rows for label in row["instances"]]
    stars = [
        (label["score"], n < 2)
        for row in of.rows
        for n, label in enumerate(x for x in row["instances"] if x["class"] == STAR)
    ]
    assert len(labels) > len(stars)
    scores, right = zip(*stars, strict=True)
    return np.array(scores), np.array(right)


def test_ap_is_given_before_and_after_and_of_everything(best: Thresholds) -> None:
    for ap in (best.ap, best.ap_of[STAR]):
        assert ap.before is not None
        assert ap.after is not None
        assert ap.candidates is not None
        assert ap.before < ap.after <= ap.candidates + 1e-9
    assert set(best.ap_of) == set(CLASSES)


def test_classes_with_too_few_objects_are_named(best: Thresholds, tmp_path: Path) -> None:
    assert best.too_few == {HOUSE: 3}
    assert best.shared is None
    assert f"{BLUE} (30)" in " ".join(best.warnings)
    sparse = Toy(1)
    for number in range(24):
        sparse.image({BLUE: int(number % 3 == 0), HOUSE: int(number % 4 == 0)}, {HOUSE: 1})
    found = calibrated(*sparse.written(tmp_path), None)
    assert (found.own, found.too_few) == ((), {STAR: 0, BLUE: 8, HOUSE: 6})
    assert found.shared is not None
    assert found.shared.objects == 14 >= FEWEST, "together they are enough"
    assert found.shared.threshold is not None


def test_the_yaml_is_an_ontology_again(best: Thresholds, tmp_path: Path) -> None:
    text = "\n".join(yaml_of(best))
    ontology = Ontology.model_validate(yaml.safe_load(text)["detector"]["ontology"])
    assert ontology.classes[STAR].threshold == pytest.approx(best.own[0].threshold)
    assert HOUSE not in ontology.classes
    assert "# 120 objects: precision 0." in text


def test_a_run_without_candidates_can_only_raise_thresholds(tmp_path: Path) -> None:
    made = toy()
    for row in made.rows:
        row["instances"] = [one for one in row["instances"] if not one["reasons"]]
    found = calibrated(*made.written(tmp_path, min_score=None), None)
    assert "the thresholds can only rise" in " ".join(found.warnings)
    star = found.own[0]
    assert star.threshold is not None
    assert star.threshold >= NOW
    assert star.after.recall is not None
    assert star.before.recall is not None
    assert star.after.recall.value <= star.before.recall.value


def test_a_precision_out_of_reach_is_said(tmp_path: Path) -> None:
    made = Toy(3)
    for _ in range(20):
        made.image({STAR: 1}, {})
        for one in made.rows[-1]["instances"]:
            one["box"] = [0.0, 0.0, 5.0, 5.0]  # found where nothing is
    found = calibrated(*made.written(tmp_path), 0.9)
    assert found.own[0].threshold is None
    assert found.own[0].after.precision is None
    assert list(yaml_of(found)) == []


def test_classes_that_the_truth_does_not_name_are_left_alone(tmp_path: Path) -> None:
    made = toy()
    made.truth["categories"] = made.truth["categories"][:1]
    made.truth["annotations"] = [
        one for one in made.truth["annotations"] if one["category_id"] == 5
    ]
    found = calibrated(*made.written(tmp_path), None)
    assert found.unnamed == (BLUE, HOUSE)
    assert [one.members for one in found.own] == [(STAR,)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("few images", r"5 images of .* too few to cross-validate"),
        ("no labels", "has neither labels nor candidates"),
        ("few objects", "holds 3 objects of the run's classes: too few"),
    ],
)
def test_runs_without_enough_truth_are_refused(tmp_path: Path, change: str, message: str) -> None:
    made = toy(images=5 if change == "few images" else 30)
    if change == "no labels":
        for row in made.rows:
            row["instances"] = []
    if change == "few objects":
        made.truth["annotations"] = made.truth["annotations"][:3]
    with pytest.raises(ConfigError, match=message):
        calibrated(*made.written(tmp_path), None)


def test_thresholds_that_can_be_worked_out_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.3])
    right = np.array([True, True, False, True, False])
    assert threshold_for(scores, right, 3, best_f1, 0.1) == 0.45, "6 of 4 + 3, half-way down"
    assert threshold_for(scores, right, 3, precision_of(0.9), 0.1) == 0.75
    assert threshold_for(scores, right, 3, precision_of(0.6), 0.1) == 0.45, "the higher of equals"
    assert threshold_for(scores, right | True, 5, best_f1, 0.1) == 0.1, "all that there is"
    assert threshold_for(scores, ~right, 3, precision_of(0.9), 0.1) is None
    assert threshold_for(scores[:0], right[:0], 3, best_f1, 0.1) is None
    tied = np.array([0.5, 0.5, 0.4])
    assert threshold_for(tied, right[1:4], 9, precision_of(1), 0.1) is None, "ties fall together"
    close = np.array([0.500004, 0.500003])
    assert threshold_for(close, right[1:3], 1, best_f1, 0.1) == 0.500004, "too close to round"
