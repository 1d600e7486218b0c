"""The SAM 2 actor against the library's own single-image path, and on bad input."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from doubles.device_with_little_memory import little_memory
from PIL import Image
from pycocotools import mask as coco
from safetensors.torch import load_file, save_file
from tiny_sam2 import scattered, tiny_checkpoint
from transformers import Sam2Config as LibraryConfig
from transformers import (
    Sam2ImageProcessor,
    Sam2Model,
    Sam2Processor,
    Sam2VideoConfig,
    Sam2VideoModel,
)

from actors.failures import SetupError
from actors.images import mask_logits, rle
from actors.instances import BOXES
from actors.segmentation.sam2 import Sam2
from actors.segmentation.settings import Sam2Config

#: Of a mask's pixels may differ from the library's: OpenCV and torch round a bilinear weight
#: differently, which turns pixels whose logit is 0 to the fifth digit.
PIXELS = 2e-4
IOU = 1e-5


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("sam2"))


@pytest.fixture(scope="module")
def sam2(checkpoint: Path) -> Sam2:
    return Sam2(Sam2Config(model=str(checkpoint), device="cpu", dtype="float32"))


def png(width: int, height: int, seed: int = 0, mode: str = "RGB") -> bytes:
    """Smooth colours: what a resize does to them is visible but small."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(
        file, "PNG"
    )
    return file.getvalue()


def some_boxes(count: int, width: int, height: int, seed: int = 0) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    low, high = rng.uniform(0, 0.6, (count, 2)), rng.uniform(0.1, 0.4, (count, 2))
    corners = np.concatenate([low, low + high], axis=1) * [width, height, width, height]
    return corners.astype(np.float32).tolist()


def table(images: list[bytes | None], boxes: list[list[list[float]] | None]) -> pa.Table:
    instances = [
        None if found is None else [{"class": "star", "score": 0.9, "box": box} for box in found]
        for found in boxes
    ]
    columns = {
        "row_id": pa.array(range(len(images)), pa.int64()),
        "image": pa.array(images, pa.binary()),
        "boxes": pa.array(instances, BOXES),
    }
    return pa.table(columns)


def dense(mask: dict[str, Any]) -> npt.NDArray[np.bool_]:
    return coco.decode({"counts": mask["counts"], "size": mask["size"]}).astype(bool)


def library(
    checkpoint: Path, image: bytes, boxes: list[list[float]]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Masks (n, h, w) and IoUs (n,) as the library makes them of one image."""
    processor = Sam2Processor.from_pretrained(checkpoint)
    model = Sam2Model.from_pretrained(checkpoint).eval()
    picture = Image.open(io.BytesIO(image)).convert("RGB")
    inputs = processor(images=picture, input_boxes=[boxes], return_tensors="pt")
    with torch.inference_mode():
        out = model(**inputs, multimask_output=False)
    masks = processor.post_process_masks(out.pred_masks, inputs["original_sizes"])[0]
    return masks[:, 0].numpy(), out.iou_scores[0, :, 0].numpy()


def check_like_library(
    checkpoint: Path, image: bytes, boxes: list[list[float]], masks: list[dict[str, Any]]
) -> None:
    expected, ious = library(checkpoint, image, boxes)
    assert len(masks) == len(boxes)
    for mask, wanted, iou in zip(masks, expected, ious, strict=True):
        found = dense(mask)
        assert found.shape == wanted.shape
        assert (found != wanted).mean() <= PIXELS
        assert mask["mask_iou"] == pytest.approx(float(iou), abs=IOU)


SIZES = [(320, 240), (97, 211), (640, 40), (128, 128), (33, 500), (300, 300), (250, 100), (64, 48)]
COUNTS = [3, 0, 7, 1, 3, 1, 0, 7]


@pytest.mark.parametrize(
    ("batch", "images_at_once", "boxes_at_once"), [(1, None, None), (8, None, None), (8, 8, 64)]
)
def test_ragged_batch_equals_library_image_by_image(
    checkpoint: Path, batch: int, images_at_once: int | None, boxes_at_once: int | None
) -> None:
    config = Sam2Config(
        model=str(checkpoint),
        device="cpu",
        dtype="float32",
        images_at_once=images_at_once,
        boxes_at_once=boxes_at_once,
    )
    actor = Sam2(config)
    images: list[bytes | None] = [png(*size, seed=n) for n, size in enumerate(SIZES)]
    boxes = [some_boxes(c, *s, seed=c) for c, s in zip(COUNTS, SIZES, strict=True)]
    rows = table(images, boxes)
    parts = [actor(rows.slice(start, batch)) for start in range(0, len(images), batch)]
    out = pa.concat_tables(parts)
    assert out.schema == pa.schema([*rows.schema, *Sam2.writes])
    assert out["segment_failure"].null_count == len(images)
    covered = []
    for image, found, masks in zip(images, boxes, out["masks"].to_pylist(), strict=True):
        if not found:
            assert masks == []
            continue
        check_like_library(checkpoint, image, found, masks)
        covered += [dense(mask).mean() for mask in masks]
    assert 0.02 < np.median(covered) < 0.98  # the masks are not trivial
    assert len({round(share, 3) for share in covered}) > len(covered) / 2


def test_result_of_an_image_does_not_depend_on_its_neighbours(sam2: Sam2) -> None:
    image, boxes = png(200, 100, seed=5), some_boxes(3, 200, 100)
    alone = sam2(table([image], [boxes]))["masks"].to_pylist()[0]
    crowd = [png(80, 160, seed=n) for n in range(20)]  # more than one window
    rows = table([*crowd, image], [*([some_boxes(2, 80, 160)] * 20), boxes])
    together = sam2(rows)["masks"].to_pylist()[-1]
    for one, other in zip(alone, together, strict=True):
        assert (dense(one) != dense(other)).mean() <= PIXELS
        assert one["mask_iou"] == pytest.approx(other["mask_iou"], abs=IOU)


def test_box_agreement_is_the_iou_of_the_masks_own_box(sam2: Sam2) -> None:
    boxes = some_boxes(7, 160, 120)
    masks = sam2(table([png(160, 120)], [boxes]))["masks"].to_pylist()[0]
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        ys, xs = dense(mask).nonzero()
        tight = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        wide = max(0, min(x1, tight[2]) - max(x0, tight[0]))
        high = max(0, min(y1, tight[3]) - max(y0, tight[1]))
        union = (x1 - x0) * (y1 - y0) + (tight[2] - tight[0]) * (tight[3] - tight[1]) - wide * high
        assert mask["box_agreement"] == pytest.approx(wide * high / union, abs=1e-5)


def test_rows_without_boxes_or_image_never_meet_the_model(sam2: Sam2) -> None:
    with little_memory(0) as device:  # any operation on a tensor would fail
        out = sam2(table([b"no image", None, b"no image"], [[], None, None]))
    assert device.refusals == 0
    assert out["masks"].to_pylist() == [[], None, None]
    assert out["segment_failure"].null_count == 3


def test_box_that_is_no_number_gets_an_empty_mask_of_unknown_quality(sam2: Sam2) -> None:
    good = some_boxes(2, 100, 80)
    rows = table([png(100, 80)], [[good[0], [float("nan")] * 4, good[1]]])
    first, broken, second = sam2(rows)["masks"].to_pylist()[0]
    assert not dense(broken).any()
    assert (broken["mask_iou"], broken["box_agreement"]) == (None, 0.0)
    assert [first, second] == sam2(table([png(100, 80)], [good]))["masks"].to_pylist()[0]


def test_undecodable_image_fails_alone(sam2: Sam2) -> None:
    good, boxes = png(100, 80), some_boxes(1, 100, 80)
    broken = [b"", b"text, not an image", good[: len(good) // 2]]
    out = sam2(table([good, *broken, good], [boxes] * 5))
    kinds = [f and f["kind"] for f in out["segment_failure"].to_pylist()]
    assert kinds == [None, *["CORRUPT_IMAGE"] * 3, None]
    masks = out["masks"].to_pylist()
    assert masks[1:4] == [None] * 3
    assert masks[0] == masks[4]


@pytest.mark.parametrize(
    ("width", "height", "mode"),
    [
        (1, 1, "RGB"),
        (1, 3, "RGB"),
        (3, 1, "RGB"),
        (2, 3000, "RGB"),
        (3000, 2, "RGB"),
        (90, 60, "L"),
    ],
)
def test_odd_images_equal_library(
    sam2: Sam2, checkpoint: Path, width: int, height: int, mode: str
) -> None:
    image, boxes = png(width, height, mode=mode), [[0.0, 0.0, float(width), float(height)]]
    masks = sam2(table([image], [boxes]))["masks"].to_pylist()[0]
    check_like_library(checkpoint, image, boxes, masks)


def test_batch_that_does_not_fit_is_halved_and_the_rest_goes_on(checkpoint: Path) -> None:
    config = Sam2Config(model=str(checkpoint), device="cpu", images_at_once=8, boxes_at_once=16)
    actor = Sam2(config)
    images: list[bytes | None] = [png(120, 90, seed=n) for n in range(6)]
    rows = table(images, [some_boxes(3, 120, 90)] * 6)
    expected = actor(rows)["masks"].to_pylist()
    one_image = 3 * 128 * 128 * 4
    with little_memory(3 * one_image) as device:  # room for three images, not for six
        out = actor(rows)
    assert device.refusals > 0
    assert out["segment_failure"].null_count == 6
    for masks, wanted in zip(out["masks"].to_pylist(), expected, strict=True):
        for one, other in zip(masks, wanted, strict=True):
            assert (dense(one) != dense(other)).mean() <= PIXELS


def test_image_that_does_not_fit_alone_is_out_of_memory(sam2: Sam2) -> None:
    rows = table([png(120, 90), png(90, 120)], [some_boxes(2, 120, 90)] * 2)
    with little_memory(4096):
        out = sam2(rows)
    assert [f["kind"] for f in out["segment_failure"].to_pylist()] == ["OUT_OF_MEMORY"] * 2
    assert out["masks"].null_count == 2
    assert sam2(rows)["segment_failure"].null_count == 2  # nothing of it stays


def test_bfloat16_keeps_the_masks(checkpoint: Path, sam2: Sam2) -> None:
    half = Sam2(Sam2Config(model=str(checkpoint), device="cpu", dtype="bfloat16"))
    rows = table([png(160, 120, seed=n) for n in range(4)], [some_boxes(3, 160, 120)] * 4)
    pairs = zip(sam2(rows)["masks"].to_pylist(), half(rows)["masks"].to_pylist(), strict=True)
    same = [
        (dense(one) == dense(other)).mean()
        for masks, others in pairs
        for one, other in zip(masks, others, strict=True)
    ]
    assert np.median(same) > 0.97  # random weights: many logits lie near 0


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40_000), (33_000, 2), (97, 61)])
def test_run_lengths_are_those_of_pycocotools(height: int, width: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(5, 32, 32)
    logits[1], logits[2], logits[3, 0, 0] = -1, 1, float("nan")
    upsampled = torch.nn.functional.interpolate(logits[:, None], (height, width), mode="bilinear")
    masks = (upsampled[:, 0] > 0).numpy()
    truth = [coco.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    assert mask_logits.on_device(logits, height, width) == truth
    for one, wanted in zip(mask_logits.encode(list(logits), height, width), truth, strict=True):
        assert one["size"] == wanted["size"]
        assert (coco.decode(one) != coco.decode(wanted)).mean() <= PIXELS


def test_device_masks_are_encoded_in_chunks() -> None:
    torch.manual_seed(0)
    logits = torch.randn(7, 16, 16)
    whole = mask_logits.on_device(logits, 50, 40)
    with little_memory(2 * 50 * 40 * 4) as device:  # two masks as float32
        assert mask_logits.on_device(logits, 50, 40, held=2 * 50 * 40) == whole
    assert device.refusals == 0


def test_empty_mask_agrees_with_no_box() -> None:
    empty = mask_logits.encode([torch.full((8, 8), -1.0)], 30, 20)
    assert rle.box_agreement(empty, np.array([[1.0, 2.0, 9.0, 9.0]])).tolist() == [0.0]
    assert rle.box_agreement(empty, np.array([[1.0, 2.0, 1.0, 2.0]])).tolist() == [0.0]


def test_auto_takes_bfloat16_where_the_cpu_multiplies_it(checkpoint: Path) -> None:
    known = torch.cpu.get_capabilities()
    half = known.get("avx512_bf16") or known.get("amx_bf16")
    chosen = Sam2(Sam2Config(model=str(checkpoint), device="cpu")).provenance()["dtype"]
    assert chosen == ("bfloat16" if half else "float32")


def test_provenance_names_the_weights(sam2: Sam2, tmp_path: Path) -> None:
    named = sam2.provenance()
    other = Sam2(Sam2Config(model=str(tiny_checkpoint(tmp_path, seed=1)), device="cpu"))
    assert named["dtype"] == "float32"
    assert len(named["weights_sha256"]) == 64
    assert named["weights_sha256"] != other.provenance()["weights_sha256"]


def copied(checkpoint: Path, folder: Path) -> Path:
    for path in checkpoint.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_setup_names_what_is_wrong(checkpoint: Path, tmp_path: Path) -> None:
    other_kind = copied(checkpoint, tmp_path)
    config = json.loads((other_kind / "config.json").read_text())
    (other_kind / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    cases = {
        "./nowhere": "'./nowhere' is neither an existing directory nor a hub id",
        "nowhere": "'nowhere' is neither an existing directory nor a hub id",
        "facebook/never-published": "cannot download 'facebook/never-published' at revision main",
        str(other_kind): "is of type bert; this actor runs sam2 and sam2_video",
    }
    for model, message in cases.items():
        with pytest.raises(SetupError, match=message) as caught:
            Sam2(Sam2Config(model=model, local_files_only=True, device="cpu"))
        assert caught.value.remedy


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_device_that_is_not_there_is_named(checkpoint: Path) -> None:
    with pytest.raises(SetupError, match="sets device: cuda") as caught:
        Sam2(Sam2Config(model=str(checkpoint), device="cuda"))
    assert "device: cpu" in caught.value.remedy


def test_video_checkpoint_gives_the_same_masks(
    checkpoint: Path, sam2: Sam2, tmp_path: Path
) -> None:
    """The hub's sam2.1-hiera-* say of themselves that they are of the type sam2_video."""
    config = LibraryConfig.from_pretrained(checkpoint)
    video = Sam2VideoModel(
        Sam2VideoConfig(
            vision_config=config.vision_config.to_dict(),
            prompt_encoder_config=config.prompt_encoder_config.to_dict(),
            mask_decoder_config=config.mask_decoder_config.to_dict(),
            memory_attention_hidden_size=32,
            memory_encoder_hidden_size=32,
            mask_downsampler_embed_dim=32,
            memory_fuser_embed_dim=32,
        )
    )
    image_part = Sam2Model.from_pretrained(checkpoint).state_dict()
    assert not video.load_state_dict(image_part, strict=False).unexpected_keys
    copied(checkpoint, tmp_path)
    video.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "sam2_video"
    rows = table([png(90, 60)], [some_boxes(3, 90, 60)])
    actor = Sam2(Sam2Config(model=str(tmp_path), device="cpu", dtype="float32"))
    assert actor(rows)["masks"].equals(sam2(rows)["masks"])


def test_checkpoint_of_another_size_than_its_processor_is_refused(
    checkpoint: Path, tmp_path: Path
) -> None:
    copied(checkpoint, tmp_path)
    file = tmp_path / "processor_config.json"
    content = json.loads(file.read_text())
    content["image_processor"]["size"] = {"height": 256, "width": 256}
    file.write_text(json.dumps(content))
    with pytest.raises(SetupError, match="needs 128 x 128 px, but its processor resizes to 256"):
        Sam2(Sam2Config(model=str(tmp_path), device="cpu"))


def test_checkpoint_that_lacks_weights_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    copied(checkpoint, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["mask_decoder.iou_token.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        SetupError, match=r"lacks 1 weights, e\.g\. mask_decoder\.iou_token\.weight"
    ):
        Sam2(Sam2Config(model=str(tmp_path), device="cpu"))
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(SetupError, match="cannot load"):
        Sam2(Sam2Config(model=str(tmp_path), device="cpu"))


@pytest.mark.long
def test_hiera_tiny_at_full_size_equals_library(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    scattered(Sam2Model(LibraryConfig())).save_pretrained(tmp_path)
    Sam2Processor(Sam2ImageProcessor()).save_pretrained(tmp_path)
    actor = Sam2(Sam2Config(model=str(tmp_path), device="cpu", dtype="float32", boxes_at_once=3))
    sizes, counts = [(640, 480), (200, 900)], [3, 1]
    images: list[bytes | None] = [png(*size, seed=n) for n, size in enumerate(sizes)]
    boxes = [some_boxes(c, *s) for c, s in zip(counts, sizes, strict=True)]
    out = actor(table(images, boxes))
    for image, found, masks in zip(images, boxes, out["masks"].to_pylist(), strict=True):
        check_like_library(tmp_path, image, found, masks)
