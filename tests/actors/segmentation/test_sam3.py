"""The SAM 3 actor against the library's own path, one image and one prompt at a time."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from doubles.device_with_little_memory import little_memory
from safetensors.torch import load_file, save_file
from sam3_answers import (
    IMAGES,
    ONTOLOGY,
    PROMPTS,
    Library,
    actor,
    answers,
    check,
    check_mask,
    dense,
    kinds,
    png,
    table,
)
from tiny_sam3 import QUERIES, SIZE, scattered, tiny_checkpoint, tokenizer
from torch.nn.modules.module import register_module_forward_hook
from torchvision.ops import box_iou
from transformers import (
    CLIPTextModelWithProjection,
    Sam3ImageProcessor,
    Sam3Processor,
    Sam3VisionModel,
)
from transformers import Sam3Config as LibraryConfig
from transformers.models.sam3.modeling_sam3 import Sam3DetrEncoder, Sam3MaskDecoder

from actors.failures import SetupError
from actors.segmentation.sam3 import Sam3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("sam3"))


@pytest.fixture(scope="module")
def sam3(checkpoint: Path) -> Sam3:
    return actor(checkpoint)


@pytest.fixture(scope="module")
def library(checkpoint: Path) -> Library:
    return Library(checkpoint)


@pytest.mark.parametrize(
    ("batch", "images_at_once", "prompts_at_once"), [(1, None, None), (8, 3, 7), (8, 8, 64)]
)
def test_packed_batches_equal_the_library_pair_by_pair(
    checkpoint: Path, library: Library, batch: int, images_at_once: int, prompts_at_once: int
) -> None:
    detector = actor(checkpoint, images_at_once=images_at_once, prompts_at_once=prompts_at_once)
    rows = table(list(IMAGES))
    found = pa.concat_tables(
        [detector(rows.slice(start, batch)) for start in range(0, len(IMAGES), batch)]
    )
    assert found.schema == pa.schema([*rows.schema, *Sam3.writes])
    total, covered = 0, []
    for data, ours in zip(IMAGES, answers(found), strict=True):
        check(ours, library.find(data, PROMPTS, 0.2))
        scores = [one["score"] for one, _ in ours]
        assert scores == sorted(scores, reverse=True)
        total += len(ours)
        covered += [dense(mask).mean() for _, mask in ours]
    assert total > 50
    assert len({round(share, 3) for share in covered}) > total / 3  # masks are not trivial
    assert 0.02 < np.median(covered) < 0.98


def test_a_result_does_not_depend_on_what_else_is_in_the_batch(checkpoint: Path) -> None:
    packed = actor(checkpoint, images_at_once=4, prompts_at_once=9)
    together = answers(packed(table(list(IMAGES))))
    for data, crowd in zip(IMAGES, together, strict=True):
        (alone,) = answers(packed(table([data])))
        assert len(alone) == len(crowd)
        same = [{**one, "mask": dense(mask)} for one, mask in alone]
        check(crowd, same)


def test_each_image_is_embedded_once_and_each_prompt_read_once(checkpoint: Path) -> None:
    with forwards() as items:
        detector = actor(checkpoint, prompts_at_once=5)
        detector(table(list(IMAGES)))
        detector(table([*IMAGES[:2], None, b"no image"]))
    assert items[Sam3VisionModel] == len(IMAGES) + 2
    assert items[CLIPTextModelWithProjection] == len(PROMPTS)
    assert items[Sam3DetrEncoder] == len(PROMPTS) * (len(IMAGES) + 2)


def test_masks_are_made_for_pairs_with_instances_only(checkpoint: Path) -> None:
    some = {**ONTOLOGY, "threshold": 0.35}
    with forwards() as items:
        found = answers(actor(checkpoint, ontology=some)(table(list(IMAGES))))
    pairs = {(row, one["prompt"]) for row, ours in enumerate(found) for one, _ in ours}
    assert items[Sam3MaskDecoder] == len(pairs)
    assert 0 < len(pairs) < items[Sam3DetrEncoder]
    strict = {**ONTOLOGY, "threshold": 0.99}
    with forwards() as items:
        out = actor(checkpoint, ontology=strict)(table([IMAGES[0]]))
    assert items[Sam3MaskDecoder] == 0
    assert out["boxes"].to_pylist() == out["masks"].to_pylist() == [[]]


@contextmanager
def forwards() -> Iterator[Counter[type]]:
    """How many items of a batch each kind of module of the library was given."""
    items: Counter[type] = Counter()

    def count(module: Any, _: Any, out: Any) -> None:
        if isinstance(module, Sam3MaskDecoder):
            items[type(module)] += len(out.pred_masks)
        elif isinstance(module, Sam3VisionModel | CLIPTextModelWithProjection | Sam3DetrEncoder):
            items[type(module)] += len(out.last_hidden_state)

    hook = register_module_forward_hook(count)
    try:
        yield items
    finally:
        hook.remove()


def test_synonyms_fold_and_the_better_prompt_is_recorded(sam3: Sam3, checkpoint: Path) -> None:
    apart = {"classes": {"sofa": {}, "couch": {}}, "threshold": 0.2}
    rows = table(IMAGES[:4])
    every = answers(actor(checkpoint, ontology=apart, nms_iou=1.0)(rows))
    folds = 0
    for single, folded in zip(every, answers(sam3(rows)), strict=True):
        seats = [one for one, _ in folded if one["class"] == "seat"]
        scores = {(one["prompt"], tuple(one["box"])): one["score"] for one, _ in single}
        for one in seats:
            assert scores[one["prompt"], tuple(one["box"])] == one["score"]
        boxes = torch.tensor([one["box"] for one in seats])
        for one, _ in single:
            near = box_iou(torch.tensor([one["box"]]), boxes)[0] >= 0.7
            assert max(seats[i]["score"] for i in near.nonzero()[:, 0]) >= one["score"]
        assert {one["prompt"] for one in seats} == {"sofa", "couch"}
        folds += len(single) - len(seats)
    assert folds > 10


def test_of_exclusive_classes_the_best_stays_with_its_own_mask(
    sam3: Sam3, checkpoint: Path
) -> None:
    exclusive = {**ONTOLOGY, "exclusive": [["cat", "red car", "seat"]], "exclusive_iou": 0.5}
    rows = table(IMAGES[:6])
    conflicts = 0
    for all_of_them, left in zip(
        answers(sam3(rows)), answers(actor(checkpoint, ontology=exclusive)(rows)), strict=True
    ):
        masks = {(one["prompt"], tuple(one["box"])): dense(mask) for one, mask in all_of_them}
        assert len(left) < len(all_of_them)
        for one, mask in left:
            check_mask(mask, masks[one["prompt"], tuple(one["box"])])
            if one["conflict"] is not None:
                conflicts += 1
                assert one["conflict"]["class"] != one["class"]
                assert one["conflict"]["score"] <= one["score"]
    assert conflicts > 5


def test_candidates_below_the_threshold_get_masks_too(checkpoint: Path) -> None:
    strict = {**ONTOLOGY, "threshold": 0.25}
    (ours,) = answers(actor(checkpoint, ontology=strict, min_score=0.2)(table([IMAGES[0]])))
    kept = [one["kept"] for one, _ in ours]
    assert kept == sorted(kept, reverse=True)
    assert {one["kept"]: one["score"] >= 0.25 for one, _ in ours} == {True: True, False: False}
    assert all(dense(mask).shape == (240, 320) for _, mask in ours)


def test_box_agreement_is_the_iou_of_the_masks_own_box(sam3: Sam3) -> None:
    (ours,) = answers(sam3(table([IMAGES[0]])))
    for one, mask in ours:
        x0, y0, x1, y1 = one["box"]
        ys, xs = dense(mask).nonzero()
        tight = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        wide = max(0, min(x1, tight[2]) - max(x0, tight[0]))
        high = max(0, min(y1, tight[3]) - max(y0, tight[1]))
        union = (x1 - x0) * (y1 - y0) + (tight[2] - tight[0]) * (tight[3] - tight[1]) - wide * high
        assert mask["box_agreement"] == pytest.approx(wide * high / union, abs=1e-5)


def test_one_bad_image_is_a_value_and_its_neighbours_keep_theirs(checkpoint: Path) -> None:
    detector = actor(checkpoint, images_at_once=2, prompts_at_once=8)
    good = answers(detector(table(IMAGES[:2])))
    mixed = [IMAGES[0], b"no image", None, IMAGES[1][:400], IMAGES[1], b""]
    out = detector(table(mixed))
    bad = "CORRUPT_IMAGE"
    assert kinds(out, "detect_failure") == [None, bad, None, bad, None, bad]
    assert out["segment_failure"].null_count == 6
    for column in ("boxes", "masks"):
        values = out[column].to_pylist()
        assert [values[row] for row in (1, 2, 3, 5)] == [None] * 4
    for row, wanted in ((0, good[0]), (4, good[1])):
        ours = answers(out.slice(row, 1))[0]
        check(ours, [{**one, "mask": dense(mask)} for one, mask in wanted])


def test_an_empty_batch_is_answered(sam3: Sam3) -> None:
    out = sam3(table([]))
    assert out.num_rows == 0
    assert out.schema.names[2:] == Sam3.writes.names


@pytest.mark.parametrize(
    ("width", "height", "mode"),
    [(1, 1, "RGB"), (1, 3, "RGB"), (3, 1, "RGB"), (2, 3000, "RGB"), (3000, 2, "L")],
)
def test_odd_shapes_equal_the_library_inside_the_image(
    sam3: Sam3, library: Library, width: int, height: int, mode: str
) -> None:
    data = png(width, height, mode=mode)
    (ours,) = answers(sam3(table([data])))
    check(ours, library.find(data, PROMPTS, 0.2), pixel=1e-5 * max(width, height, 500))
    assert ours
    for one, mask in ours:
        x0, y0, x1, y1 = one["box"]
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert mask["size"] == [height, width]


@pytest.mark.parametrize(
    ("weight", "column"),
    [
        ("detr_decoder.box_head.layer1.weight", "detect_failure"),
        ("vision_encoder.neck.fpn_layers.2.proj1.weight", "detect_failure"),
        ("mask_decoder.instance_projection.weight", "segment_failure"),
    ],
)
def test_a_model_that_answers_nan_has_found_nothing_to_trust(
    checkpoint: Path, tmp_path: Path, weight: str, column: str
) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    weights = load_file(folder / "model.safetensors")
    weights[weight].fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    out = actor(folder)(table(IMAGES[:2]))
    other = {"detect_failure": "segment_failure", "segment_failure": "detect_failure"}[column]
    assert kinds(out, column) == ["ENGINE_FAULT"] * 2
    assert out[other].null_count == out["masks"].null_count == 2
    assert out["boxes"].null_count == (2 if column == "detect_failure" else 0)


ONE_IMAGE = 3 * SIZE * SIZE * 4


def test_a_batch_that_does_not_fit_is_halved_and_the_rest_goes_on(checkpoint: Path) -> None:
    detector = actor(checkpoint, images_at_once=8, prompts_at_once=64)
    expected = answers(detector(table(list(IMAGES))))
    with little_memory(3 * ONE_IMAGE) as device:  # room for three images, not for eight
        out = detector(table(list(IMAGES)))
    assert device.refusals > 1  # images, and then pairs
    for ours, wanted in zip(answers(out), expected, strict=True):
        check(ours, [{**one, "mask": dense(mask)} for one, mask in wanted])


def test_an_image_that_does_not_fit_alone_is_out_of_memory(sam3: Sam3) -> None:
    with little_memory(4096):
        out = sam3(table(IMAGES[:2]))
    assert kinds(out, "detect_failure") == ["OUT_OF_MEMORY"] * 2
    assert out["boxes"].null_count == out["masks"].null_count == 2
    assert out["segment_failure"].null_count == 2
    assert all(answers(sam3(table(IMAGES[:2]))))  # nothing of it stays


def test_masks_that_do_not_fit_leave_the_boxes(checkpoint: Path) -> None:
    """All forty queries of a prompt are asked for: their masks outweigh the image itself."""
    every = {"classes": {"cat": {}}, "threshold": 1e-6}
    detector = actor(checkpoint, ontology=every, nms_iou=1.0)
    masks = QUERIES * (SIZE // 14 * 4) ** 2 * 4
    assert masks > ONE_IMAGE
    (expected,) = answers(detector(table([IMAGES[0]])))
    with little_memory(ONE_IMAGE) as device:
        out = detector(table([IMAGES[0]]))
    assert device.refusals == 1
    assert kinds(out, "segment_failure") == ["OUT_OF_MEMORY"]
    assert out["detect_failure"].null_count == out["masks"].null_count == 1
    assert out["boxes"].to_pylist()[0] == [one for one, _ in expected]


def test_half_precision_keeps_coordinates_whole(checkpoint: Path, sam3: Sam3) -> None:
    half = actor(checkpoint, dtype="bfloat16")
    assert half.provenance()["dtype"] == "bfloat16"
    large = png(1600, 400)
    (exact,), (ours,) = answers(sam3(table([large]))), answers(half(table([large])))
    boxes = torch.tensor([one["box"] for one, _ in ours])
    assert (boxes != boxes.bfloat16().float()).float().mean() > 0.5
    apart, same = [], []
    for one, mask in ours:
        near = [(other, m) for other, m in exact if other["prompt"] == one["prompt"]]
        gaps = [np.abs(np.subtract(other["box"], one["box"])).max() for other, _ in near]
        if gaps:
            apart.append(min(gaps))
            same.append((dense(mask) == dense(near[int(np.argmin(gaps))][1])).mean())
    assert len(apart) > 10
    assert np.median(apart) < 0.02 * 1600
    assert np.median(same) > 0.9  # random weights: many probabilities lie near 0.5


def test_a_prompt_as_long_as_the_model_reads_is_found_and_a_longer_one_refused(
    checkpoint: Path, library: Library
) -> None:
    words = " ".join(["red", "cat"] * 15)
    longest = {"classes": {"herd": {"prompts": [words]}}, "threshold": 0.2}
    (ours,) = answers(actor(checkpoint, ontology=longest)(table([IMAGES[2]])))
    check(ours, library.find(IMAGES[2], {words: "herd"}, 0.2))
    longer = {"classes": {"cat": {}, "herd": {"prompts": [f"{words} dog"]}}}
    with pytest.raises(
        SetupError, match="cat dog' of class 'herd' has 31 tokens; the model accepts"
    ):
        actor(checkpoint, ontology=longer)


@pytest.mark.long
def test_the_full_architecture_equals_the_library(tmp_path: Path) -> None:
    """840 M random weights at 1,008 px: one image, two prompts. Some minutes, 8 GB."""
    torch.set_num_threads(1)
    config = LibraryConfig()
    words = tokenizer()  # ids of ours are ids of the full vocabulary too
    scattered(config, width=0.01).save_pretrained(tmp_path)
    Sam3Processor(Sam3ImageProcessor(), words).save_pretrained(tmp_path)
    prompts = {"cat": "cat", "red car": "red car"}
    library = Library(tmp_path)
    threshold = 0.2
    theirs = library.find(IMAGES[0], prompts, threshold)
    del library
    ontology = {"classes": dict.fromkeys(prompts), "threshold": threshold}
    (ours,) = answers(actor(tmp_path, ontology=ontology)(table([IMAGES[0]])))
    assert ours
    check(ours, theirs, score=1e-4, pixel=0.05, pixels_of_mask=1e-3)
