"""The YOLO actors against ultralytics' own `predict`, image by image, and on bad files."""

from __future__ import annotations

import importlib
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from doubles.device_with_little_memory import little_memory
from PIL import Image
from pycocotools import mask as coco
from tiny_yolo import NAMES, random_model, save

from actors.detection.closed_set.masks import masks_of
from actors.detection.closed_set.settings import YoloConfig
from actors.detection.yolo import Yolo, YoloSeg
from actors.failures import SetupError
from actors.images.letterbox import Letterbox

ROOT = Path(__file__).parents[3]
#: The model's side, a multiple of 32; 640 takes six times as long.
SIDE = 256
SCORE = 0.3
#: Prompts without full stops: `Ontology` allows none.
ONTOLOGY: dict[str, Any] = {
    "classes": {name.replace(".", ""): {} for name in NAMES},
    "threshold": SCORE,
}
SIZES = [(200, 300), (320, 240), (333, 77), (641, 480), (320, 240), (50, 400), (640, 1000)]
SIZES += [(100, 100), (320, 236)]
#: Largest errors, pixels of an image of 1,000 at most, and score. Sums in another order move boxes
#: of random weights by 0.09 px.
BOX_ERROR, SCORE_ERROR = 0.2, 5e-4
#: Of all boxes: two classes whose scores are equal to the fifth digit, two boxes that overlap by
#: the IoU of the NMS to the fifth.
TIES = 0.01


def picture(width: int, height: int, seed: int = 0, mode: str = "RGB") -> bytes:
    """A PNG of soft coloured noise."""
    rng = np.random.default_rng([seed, width, height])
    coarse = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.convert(mode).save(file, "PNG")
    return file.getvalue()


PICTURES = [picture(width, height, seed) for seed, (width, height) in enumerate(SIZES)]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    folder = tmp_path_factory.mktemp("yolo")
    torch.set_num_threads(1)

    def path(kind: str) -> str:
        file = folder / f"{kind}.pt"
        return str(file if file.exists() else save(file, random_model(kind)))

    return path


def actor(model: str, kind: type[Yolo] = Yolo, **settings: Any) -> Yolo:
    settings = {"ontology": ONTOLOGY, "device": "cpu", "image_size": SIDE} | settings
    return started(kind, YoloConfig(model=model, **settings).model_dump_json())


@lru_cache(maxsize=16)
def started(kind: type[Yolo], config: str) -> Yolo:
    """Loading takes 0.3 s, and an actor keeps nothing from one call to the next."""
    return kind(YoloConfig.model_validate_json(config))


def table(images: list[bytes | None]) -> pa.Table:
    ids = pa.array(range(len(images)), pa.int64())
    return pa.table({"row_id": ids, "image": pa.array(images, pa.binary())})


def seen(yolo: Yolo, images: list[bytes | None]) -> tuple[list[Any], list[Any]]:
    """Boxes and masks of each image, none of which failed."""
    rows = table(images)
    out = yolo(rows)
    assert out.schema == pa.schema([*rows.schema, *yolo.writes])
    assert out["detect_failure"].null_count == len(images)
    masks = out["masks"].to_pylist() if isinstance(yolo, YoloSeg) else [None] * len(images)
    return out["boxes"].to_pylist(), masks


def predicted(model: str, images: list[bytes], **settings: Any) -> list[Any]:
    """The library's results, one image at a time."""
    library = importlib.import_module("ultralytics").YOLO(model)
    arguments = {"imgsz": SIDE, "conf": SCORE, "iou": 0.7, "verbose": False, "max_det": 10_000}
    return [
        library.predict(Image.open(io.BytesIO(data)), **arguments, **settings)[0] for data in images
    ]


def matches(ours: list[Any], theirs: Any) -> tuple[list[int | None], int]:
    """For each of ours the place of the same among the library's, and how many of those are left.

    The library also returns boxes without area: those of the grey border, after clipping.
    """
    corners, scores = theirs.boxes.xyxy.numpy(), theirs.boxes.conf.numpy()
    names = np.array([NAMES[int(number)] for number in theirs.boxes.cls])
    rest = (corners[:, 2:] > corners[:, :2]).all(1)
    places: list[int | None] = []
    for one in ours:
        near = (np.abs(corners - one["box"]).max(1) < BOX_ERROR) & (names == one["prompt"])
        near &= (np.abs(scores - one["score"]) < SCORE_ERROR) & rest
        places.append(int(near.argmax()) if near.any() else None)
        if near.any():
            rest[near.argmax()] = False
    return places, int(rest.sum())


def check(ours: list[list[Any]], theirs: list[Any], least: int) -> list[list[int | None]]:
    """Both found the same in every image, and `least` boxes in all."""
    pairs = [matches(*one) for one in zip(ours, theirs, strict=True)]
    total = sum(map(len, ours))
    assert total >= least
    assert sum(left for _, left in pairs) <= TIES * total
    assert sum(places.count(None) for places, _ in pairs) <= TIES * total
    return [places for places, _ in pairs]


def flat(boxes: list[list[Any]]) -> list[Any]:
    return [one for some in boxes for one in some]


def dense(masks: list[dict[str, Any]]) -> npt.NDArray[np.bool_]:
    """(n, height, width) of the masks of one image; one at least."""
    return (
        coco.decode([{"counts": m["counts"], "size": m["size"]} for m in masks]).T.swapaxes(1, 2)
        > 0
    )


@pytest.mark.parametrize("images", [1, 8])
@pytest.mark.parametrize("kind", ["yolo11n", "yolov10n", "yolo26n"])
def test_batches_equal_the_library_image_by_image(
    checkpoint: Callable[[str], str], kind: str, images: int
) -> None:
    ours, _ = seen(actor(checkpoint(kind), forward_pixels=images * SIDE * SIDE), PICTURES)
    check(ours, predicted(checkpoint(kind), PICTURES), least=100)
    assert len({one["class"] for boxes in ours for one in boxes}) >= 4


@pytest.mark.parametrize("kind", ["yolov10n", "yolo26n"])
def test_nms_free_heads_equal_the_library(checkpoint: Callable[[str], str], kind: str) -> None:
    model = checkpoint(kind)
    images = PICTURES[:5]
    ours, _ = seen(actor(model, nms_free=True, nms_iou=1.0), images)
    theirs = [  # predict's max_det reaches into its head: the order is that of the score
        found[:300] for found in predicted(model, images, nms=False)
    ]
    check(ours, theirs, least=50)
    folded, _ = seen(actor(model, nms_free=True), images)
    assert 0 < sum(map(len, folded)) < sum(map(len, ours))


@pytest.mark.parametrize("kind", ["yolo11n-seg", "yolo26n-seg"])
def test_masks_equal_the_library(checkpoint: Callable[[str], str], kind: str) -> None:
    pictures = PICTURES[:5]
    ours, masks = seen(actor(checkpoint(kind), YoloSeg, forward_pixels=10**9), pictures)
    solid = [dense(drawn) if drawn else [] for drawn in masks]
    inked = [[i for i, mask in enumerate(some) if mask.any()] for some in solid]
    theirs = predicted(checkpoint(kind), pictures, retina_masks=True)  # drops empty masks
    kept = [[boxes[i] for i in some] for boxes, some in zip(ours, inked, strict=True)]
    ious = []
    for image, places in enumerate(check(kept, theirs, least=100)):
        assert len(masks[image]) == len(ours[image])
        for i, place in zip(inked[image], places, strict=True):
            if place is None:
                continue
            one, other = solid[image][i], theirs[image].masks.data[place].numpy().astype(bool)
            assert one.shape == other.shape
            differing, union = (one != other).sum(), (one | other).sum()
            assert differing <= max(6, 0.05 * union)  # a box edge on a pixel's centre is a row
            ious.append(1 - differing / union)
    assert np.mean(ious) > 0.999


def test_box_agreement_is_the_iou_of_the_masks_own_box(checkpoint: Callable[[str], str]) -> None:
    boxes, masks = seen(actor(checkpoint("yolo11n-seg"), YoloSeg), PICTURES[:1])
    assert boxes[0]
    found = zip(boxes[0], masks[0], dense(masks[0]), strict=True)
    for (x0, y0, x1, y1), mask, solid in ((one["box"], *rest) for one, *rest in found):
        assert mask["mask_iou"] is None
        ys, xs = solid.nonzero()
        if not len(xs):
            assert mask["box_agreement"] == 0
            continue
        tight = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        wide = max(0, min(x1, tight[2]) - max(x0, tight[0]))
        high = max(0, min(y1, tight[3]) - max(y0, tight[1]))
        union = (x1 - x0) * (y1 - y0) + (tight[2] - tight[0]) * (tight[3] - tight[1]) - wide * high
        assert mask["box_agreement"] == pytest.approx(wide * high / union, abs=1e-5)


def test_boxes_of_a_segmentation_checkpoint_are_the_same_without_its_masks(
    checkpoint: Callable[[str], str],
) -> None:
    model = checkpoint("yolo11n-seg")
    assert seen(actor(model), PICTURES)[0] == seen(actor(model, YoloSeg), PICTURES)[0]


def test_a_result_does_not_depend_on_what_else_is_in_the_batch(
    checkpoint: Callable[[str], str],
) -> None:
    yolo = actor(checkpoint("yolo11n"), forward_pixels=10**9)
    together, _ = seen(yolo, PICTURES)
    for data, boxes in zip(PICTURES, together, strict=True):
        alone = seen(yolo, [data])[0][0]
        assert len(alone) == len(boxes)
        for one, other in zip(alone, boxes, strict=True):
            assert one["score"] == pytest.approx(other["score"], abs=SCORE_ERROR)


def test_letterbox_is_the_librarys() -> None:
    rule = importlib.import_module("ultralytics.data.augment").LetterBox(SIDE, auto=True, stride=32)
    rng = np.random.default_rng(0)
    sizes = [(1, 1), (1, 3000), (3000, 1), (321, 320), *rng.integers(1, 900, (60, 2)).tolist()]
    for height, width in sizes:
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        frame = Letterbox.of(height, width, SIDE, 32)
        ours = frame.filled(torch.from_numpy(image).permute(2, 0, 1))
        assert ours.shape == (*frame.padded, 3)
        assert np.array_equal(ours, rule(image=image)), (height, width)


def test_masks_are_cut_at_their_boxes_to_the_pixel() -> None:
    rng = np.random.default_rng(0)
    for height, width in [(1, 1), (64, 1), (40, 60), (64, 64)]:
        frame = Letterbox.of(height, width, 64, 32)
        low, high = rng.uniform(0, 1, (30, 2)), rng.uniform(0, 1, (30, 2))
        corners = np.concatenate([np.minimum(low, high), np.maximum(low, high)], 1)
        corners[:4] = [0, 0, 1, 1], [0.2, 0, 0.5, 1], [0, 0.2, 1, 0.5], [0.5, 0.5, 0.5, 0.5]
        boxes = (corners * [width, height, width, height]).tolist()
        everywhere = torch.ones(1, frame.padded[0] // 4, frame.padded[1] // 4)
        rles = masks_of(torch.ones(len(boxes), 1), everywhere, frame, boxes)
        cut = coco.decode(rles).T.swapaxes(1, 2)
        for mask, (x0, y0, x1, y1) in zip(cut, boxes, strict=True):
            xs, ys = np.arange(width), np.arange(height)[:, None]
            inside = (xs >= x0) & (xs < x1) & (ys >= y0) & (ys < y1)
            assert np.array_equal(mask, inside)


def test_odd_images_are_looked_at(checkpoint: Callable[[str], str]) -> None:
    sizes = [(1, 1), (1, 3000), (3000, 2), (5000, 40)]
    images = [picture(*size) for size in sizes]
    yolo = actor(checkpoint("yolo11n-seg"), YoloSeg, min_score=0.02)
    boxes, masks = seen(yolo, [*images, picture(90, 60, mode="L")])
    assert any(boxes)
    for (width, height), found, drawn in zip([*sizes, (90, 60)], boxes, masks, strict=True):
        assert all(mask["size"] == [height, width] for mask in drawn)
        for one in found:
            x0, y0, x1, y1 = one["box"]
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            assert one["kept"] == (one["score"] >= np.float32(SCORE))


def test_unreadable_images_fail_alone(checkpoint: Callable[[str], str]) -> None:
    good = PICTURES[0]
    images = [good, b"", b"text, not an image", None, good[: len(good) // 2], good]
    yolo = actor(checkpoint("yolo11n-seg"), YoloSeg)
    out = yolo(table(images))
    kinds = [f and f["kind"] for f in out["detect_failure"].to_pylist()]
    assert kinds == [None, "CORRUPT_IMAGE", "CORRUPT_IMAGE", None, "CORRUPT_IMAGE", None]
    assert out["segment_failure"].null_count == len(images)
    for column in ("boxes", "masks"):
        values = out[column].to_pylist()
        assert values[1:5] == [None] * 4
        assert len(values[0]) == len(values[5]) > 0


def test_nan_is_a_fault_of_the_image_or_of_its_masks_alone(tmp_path: Path) -> None:
    model = random_model("yolo11n-seg")
    model.model[-1].proto.cv3.conv.weight.data[0] = torch.nan
    yolo = actor(str(save(tmp_path / "masks.pt", model)), YoloSeg)
    out = yolo(table(PICTURES[:1]))
    assert out["boxes"].to_pylist()[0]
    assert out["detect_failure"].null_count == 1
    assert out["masks"].null_count == 1
    assert out["segment_failure"].to_pylist()[0]["kind"] == "ENGINE_FAULT"
    model.model[-1].cv3[0][-1].bias.data[0] = torch.nan
    out = actor(str(save(tmp_path / "boxes.pt", model)), YoloSeg)(table(PICTURES[:1]))
    assert out["detect_failure"].to_pylist()[0]["kind"] == "ENGINE_FAULT"
    assert [out[name].null_count for name in ("boxes", "masks", "segment_failure")] == [1, 1, 1]


def test_batch_that_does_not_fit_is_halved_and_the_rest_goes_on(
    checkpoint: Callable[[str], str],
) -> None:
    yolo = actor(checkpoint("yolo11n-seg"), YoloSeg, forward_pixels=10**9)
    images: list[bytes | None] = [picture(100, 100, seed) for seed in range(5)]
    expected, drawn = seen(yolo, images)
    assert max(map(len, expected)) > 1
    features = 16 * (SIDE // 2) ** 2 * 4  # of one image behind the first layer
    with little_memory(2 * features) as device:  # room for two images, not for five
        boxes, masks = seen(yolo, images)
    assert device.refusals > 0
    assert [len(found) for found in boxes] == [len(found) for found in expected]
    for some, others in zip(masks, drawn, strict=True):
        if some:
            assert (dense(some) != dense(others)).sum((1, 2)).max() <= 6


def test_image_that_does_not_fit_alone_is_out_of_memory(checkpoint: Callable[[str], str]) -> None:
    yolo = actor(checkpoint("yolo11n"))
    rows = table(PICTURES[:2])
    with little_memory(4096):
        out = yolo(rows)
    assert [f["kind"] for f in out["detect_failure"].to_pylist()] == ["OUT_OF_MEMORY"] * 2
    assert out["boxes"].null_count == 2
    assert yolo(rows)["detect_failure"].null_count == 2  # nothing of it stays


def test_ontology_chooses_among_the_models_classes(checkpoint: Callable[[str], str]) -> None:
    model = checkpoint("yolo11n")
    everything = flat(seen(actor(model), PICTURES)[0])
    classes = {"pet": {"prompts": ["CAT", " dog"]}, "lights": {"prompts": ["Traffic  Light"]}}
    asked_for = {"classes": classes, "threshold": SCORE}
    found = flat(seen(actor(model, ontology=asked_for), PICTURES)[0])
    names = {"pet": {"cat", "dog"}, "lights": {"traffic light"}}
    assert {one["class"] for one in found} == set(names)
    for one in found:
        assert one["prompt"] in names[one["class"]]
        assert (one["source"], one["kept"], one["conflict"]) == ("yolo", True, None)
    asked = [one for one in everything if one["prompt"] in {"cat", "dog", "traffic light"}]
    assert 0 < len(found) <= len(asked)  # cats and dogs on the same place are one pet
    boxes = np.array([one["box"] for one in asked])
    for one in found:  # two forwards of the same input may differ in the last bits
        assert np.abs(boxes - one["box"]).max(axis=1).min() < 0.01
    assert "St. Bernard" in {one["prompt"] for one in everything}


def test_min_size_is_that_of_the_visible_part(checkpoint: Callable[[str], str]) -> None:
    model = checkpoint("yolo11n")
    every, some = (
        flat(seen(actor(model, ontology=ONTOLOGY | {"min_size": size}), PICTURES)[0])
        for size in (0, 25)
    )
    all_sides, sides = (
        [min(x1 - x0, y1 - y0) for x0, y0, x1, y1 in (one["box"] for one in boxes)]
        for boxes in (every, some)
    )
    assert min(all_sides) < 25 <= min(sides)


def test_prompt_that_is_no_class_names_the_nearest(checkpoint: Callable[[str], str]) -> None:
    lamp = {"classes": {"lamp": {"prompts": ["trafic light"]}}}
    with pytest.raises(SetupError, match=r"no class 'trafic light' .*: 'traffic light'") as caught:
        actor(checkpoint("yolo11n"), ontology=lamp)
    assert "'St. Bernard'" in caught.value.remedy
    with pytest.raises(SetupError, match=r"no class 'xylophone' \(class 'xylophone' of the ont"):
        actor(checkpoint("yolo11n"), ontology={"classes": {"xylophone": {}}})


class Reduced:
    """Pickled as the call `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_pickle_that_runs_a_command_is_refused_unrun(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    attack = Reduced(os.system, f"touch {marker}")
    torch.save({"model": attack}, tmp_path / "archive.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps({"model": attack}))
    with pytest.raises(SetupError, match=r"uses posix.system, .*no code from the file was run"):
        actor(str(tmp_path / "archive.pt"))
    with pytest.raises(SetupError, match="not a checkpoint of ultralytics 8"):
        actor(str(tmp_path / "bare.pt"))
    assert not marker.exists()
    torch.load(tmp_path / "archive.pt", weights_only=False)
    assert marker.exists()  # the attack is a real one


def test_pickle_that_calls_a_constructor_is_refused_unrun(tmp_path: Path) -> None:
    """`DetectionModel` evaluates the `activation` of its config."""
    tasks = importlib.import_module("ultralytics.nn.tasks")
    marker, file = tmp_path / "ran", tmp_path / "hostile.pt"
    config = deepcopy(random_model("yolov8n").yaml)
    config["activation"] = f"open({str(marker)!r}, 'w') and torch.nn.SiLU()"
    torch.save({"model": Reduced(tasks.DetectionModel, config)}, file)
    with pytest.raises(SetupError, match="calls the constructor of DetectionModel"):
        actor(str(file))
    assert not marker.exists()
    with torch.serialization.safe_globals([tasks.DetectionModel]):
        torch.load(file, weights_only=True)
    assert marker.exists()  # a list of allowed classes does not stop it


@pytest.mark.parametrize(
    ("owner", "name"),
    [("torch.nn.Linear", "__init__"), ("str", "format"), ("torch.nn.Linear", "__subclasses__")],
)
def test_pickle_gets_no_attributes_but_forward(tmp_path: Path, owner: str, name: str) -> None:
    thing = torch.nn.Linear if owner != "str" else "{}"
    torch.save({"model": Reduced(getattr, thing, name)}, tmp_path / "getattr.pt")
    with pytest.raises(SetupError, match=f"reads the attribute '{name}'"):
        actor(str(tmp_path / "getattr.pt"))


def test_modules_that_load_files_are_no_layers(tmp_path: Path) -> None:
    backend = importlib.import_module("ultralytics.nn.autobackend").AutoBackend
    torch.save({"model": Reduced(backend, "other.pt")}, tmp_path / "backend.pt")
    with pytest.raises(SetupError, match=r"uses ultralytics\.nn\.autobackend\.AutoBackend"):
        actor(str(tmp_path / "backend.pt"))


def test_checkpoint_as_a_trainer_leaves_it_is_loaded(
    checkpoint: Callable[[str], str], tmp_path: Path
) -> None:
    """With averaged weights, half precision, and what the training needed."""
    utils = importlib.import_module("ultralytics.utils")
    loss = importlib.import_module("ultralytics.utils.loss")
    head = importlib.import_module("ultralytics.nn.modules.head")
    averaged = random_model("yolo11n-seg")
    averaged.args = utils.IterableSimpleNamespace(**utils.DEFAULT_CFG_DICT, folder=Path("/data"))
    averaged.criterion = loss.v8SegmentationLoss(averaged)
    averaged.model[-1].detect = Detached(head.Detect)
    file = save(
        tmp_path / "last.pt",
        random_model("yolo11n-seg", seed=1),
        ema=averaged.half(),
        best_fitness=np.float64(0.5),
        train_metrics={"mAP": np.float64(0.5)},
    )
    named = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    assert {"builtins.getattr", "pathlib.PosixPath", "numpy.dtype"} <= set(named)
    assert any(name.startswith("ultralytics.utils.loss.") for name in named)
    ours = seen(actor(str(file), YoloSeg), PICTURES[:3])
    assert ours == seen(actor(checkpoint("yolo11n-seg"), YoloSeg), PICTURES[:3])


class Detached:
    """Pickled as `owner.forward`, which heads of 2023 kept."""

    def __init__(self, owner: type) -> None:
        self.owner = owner

    def __reduce__(self) -> Any:
        return getattr, (self.owner, "forward")


def test_fused_checkpoint_is_loaded(checkpoint: Callable[[str], str], tmp_path: Path) -> None:
    fused = random_model("yolo11n").half().float().fuse(verbose=False)
    assert isinstance(vars(fused.model[0])["forward"], MethodType)
    file = tmp_path / "fused.pt"
    torch.save({"model": fused}, file)
    ours, whole = (seen(actor(m), PICTURES[:3])[0] for m in (str(file), checkpoint("yolo11n")))
    assert [len(boxes) for boxes in ours] == [len(boxes) for boxes in whole]
    assert ours[0][0]["score"] == pytest.approx(whole[0][0]["score"], abs=SCORE_ERROR)


def test_setup_names_what_is_wrong(checkpoint: Callable[[str], str], tmp_path: Path) -> None:
    seg, detect = checkpoint("yolo11n-seg"), checkpoint("yolo11n")
    text, weights = tmp_path / "text.pt", tmp_path / "weights.pt"
    text.write_text("version https://git-lfs.github.com/spec/v1")
    torch.save({"model": random_model("yolo11n").state_dict()}, weights)
    cut = tmp_path / "cut.pt"
    cut.write_bytes(Path(detect).read_bytes()[:-1000])
    script = tmp_path / "script.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(script))
    cases: list[tuple[str, type[Yolo], dict[str, Any], str]] = [
        ("yolo11n.pt", Yolo, {}, "file yolo11n.pt does not exist; this engine downloads no files"),
        (str(text), Yolo, {}, "not a checkpoint of ultralytics 8"),
        (str(cut), Yolo, {}, "not a checkpoint of ultralytics 8"),
        (str(script), Yolo, {}, "not a checkpoint of ultralytics 8.*torchscript"),
        (str(weights), Yolo, {}, "does not contain a model"),
        (detect, YoloSeg, {}, "a head of type Detect, which predicts boxes without masks"),
        (checkpoint("yolo11n-pose"), Yolo, {}, "has a head of type Pose"),
        (seg, YoloSeg, {"nms_free": True}, "has no one-to-one head"),
        (checkpoint("yolov8n-p6"), Yolo, {"image_size": 96}, "not a multiple of 64"),
    ]
    for model, kind, settings, message in cases:
        with pytest.raises(SetupError, match=message) as caught:
            actor(model, kind, **settings)
        assert caught.value.remedy


def test_model_that_does_not_run_is_known_at_the_start(tmp_path: Path) -> None:
    model = random_model("yolo11n")
    model.names = {0: "cat"}
    with pytest.raises(SetupError, match="fails in a trial run: KeyError"):
        actor(str(save(tmp_path / "names.pt", model)))
    model = random_model("yolo11n")
    model.model[3].conv = torch.nn.Conv2d(7, 7, 1)
    with pytest.raises(SetupError, match="fails in a trial run: RuntimeError"):
        actor(str(save(tmp_path / "layer.pt", model)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_device_that_is_not_there_is_named(checkpoint: Callable[[str], str]) -> None:
    with pytest.raises(SetupError, match="sets device: cuda"):
        actor(checkpoint("yolo11n"), device="cuda")


def test_half_precision_moves_boxes_little(checkpoint: Callable[[str], str]) -> None:
    """Random weights pass errors on far more than trained ones do."""
    model = checkpoint("yolo11n")
    whole, _ = seen(actor(model, nms_iou=1.0), PICTURES[:1])
    half, _ = seen(actor(model, nms_iou=1.0, min_score=0.1, dtype="float16"), PICTURES[:1])
    corners = np.array([one["box"] for one in half[0]])
    apart = [np.abs(corners - one["box"]).max(1).min() for one in whole[0]]
    assert np.median(apart) < 0.02 * max(SIZES[0])


def test_provenance_names_file_engine_and_licence(checkpoint: Callable[[str], str]) -> None:
    named = actor(checkpoint("yolov10n"), nms_free=True).provenance()
    assert named["model"] == checkpoint("yolov10n")
    assert len(named["weights_sha256"]) == 64
    assert named["weights_sha256"] != actor(checkpoint("yolo11n")).provenance()["weights_sha256"]
    assert named["licence"] == "AGPL-3.0 (ultralytics)"
    assert named["engine"].startswith("ultralytics 8.")
    assert (named["head"], named["dtype"]) == ("v10Detect, one-to-one", "float32")


def test_missing_library_is_named_with_its_licence(
    checkpoint: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = checkpoint("yolo11n")
    monkeypatch.setitem(sys.modules, "ultralytics", None)  # what Python does for "not there"
    with pytest.raises(SetupError, match="cannot import the package ultralytics") as caught:
        Yolo(YoloConfig(model=model, ontology=ONTOLOGY))
    assert "pip install 'nightjar[yolo]'" in caught.value.remedy
    assert "AGPL-3.0" in caught.value.remedy


QUIET_WORKER = """
import sys
from pathlib import Path
calls = []
sys.addaudithook(lambda name, _: calls.append(name) if name.startswith("socket.") else None)
from actors.detection.yolo import Yolo, YoloConfig
assert not {"torch", "ultralytics", "transformers"} & set(sys.modules), "the driver imports this"
import pyarrow as pa
model, image = sys.argv[1:]
yolo = Yolo(YoloConfig(model=model, ontology={"classes": {"cat": {}}}, image_size=64))
out = yolo(pa.table({"image": pa.array([Path(image).read_bytes()], pa.binary())}))
assert out["detect_failure"].null_count == 1
print("sockets", len([name for name in calls if name != "socket.gethostname"]), set(calls))
"""


def test_pillow_is_left_as_it_was() -> None:
    """Importing ultralytics makes Image.open ask for pi_heif where a picture is broken."""
    assert Image.open.__module__ == "PIL.Image"
    with pytest.raises(Image.UnidentifiedImageError):
        Image.open(io.BytesIO(b"no picture"))


def test_worker_calls_nobody_and_leaves_the_home_directory_alone(
    checkpoint: Callable[[str], str], tmp_path: Path
) -> None:
    image, home = tmp_path / "image.png", tmp_path / "home"
    image.write_bytes(PICTURES[0])
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("YOLO", "PYTEST", "XDG"))}
    done = subprocess.run(
        [sys.executable, "-c", QUIET_WORKER, checkpoint("yolo11n"), str(image)],
        cwd=tmp_path,
        env={**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sockets 0 "), done.stdout
    assert not list(home.rglob("*ltralytics*"))
    assert not list(tmp_path.glob("nightjar-ultralytics-*"))  # removed at the end
