"""The SAM 3 actor on small pictures, and the library's own answers to compare with."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco
from torchvision.ops import nms
from transformers import Sam3Model, Sam3Processor

from actors.segmentation.sam3 import Sam3
from actors.segmentation.settings import Sam3Config

#: A threshold that some of the forty queries of random weights pass, and some do not.
ONTOLOGY: dict[str, Any] = {
    "classes": {"cat": {}, "red car": {}, "seat": {"prompts": ["sofa", "couch"]}},
    "threshold": 0.2,
}
PROMPTS = {"cat": "cat", "red car": "red car", "sofa": "seat", "couch": "seat"}
#: Scores and boxes (pixels) may differ by this: the order of sums depends on the batch.
SCORE, PIXEL = 1e-5, 5e-3
#: Of a mask's pixels, and two at least: OpenCV and torch round a bilinear weight differently,
#: which turns pixels whose probability is 0.5 to the fifth digit.
MASK = 2e-4


def png(width: int, height: int, seed: int = 0, mode: str = "RGB") -> bytes:
    """Smooth colours: what a resize does to them is visible but small."""
    rng = np.random.default_rng([seed, width, height])
    coarse = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(
        file, "PNG"
    )
    return file.getvalue()


SIZES = [(320, 240), (97, 211), (640, 40), (112, 112), (33, 500), (300, 300), (250, 100), (64, 48)]
IMAGES = [png(*size, seed=number) for number, size in enumerate(SIZES)]


def actor(folder: Path, **settings: Any) -> Sam3:
    settings = {"ontology": ONTOLOGY, "device": "cpu", "dtype": "float32"} | settings
    return Sam3(Sam3Config(model=str(folder), **settings))


def table(images: list[bytes | None]) -> pa.Table:
    ids = pa.array(range(len(images)), pa.int64())
    return pa.table({"row_id": ids, "image": pa.array(images, pa.binary())})


def answers(found: pa.Table) -> list[list[tuple[dict[str, Any], dict[str, Any]]]]:
    """(instance, mask) of each row, none of which may have failed."""
    assert found["detect_failure"].null_count == found["segment_failure"].null_count == len(found)
    rows = zip(found["boxes"].to_pylist(), found["masks"].to_pylist(), strict=True)
    return [list(zip(boxes, masks, strict=True)) for boxes, masks in rows]


def kinds(found: pa.Table, column: str) -> list[str | None]:
    return [(value or {}).get("kind") for value in found[column].to_pylist()]


def check_mask(mask: dict[str, Any], wanted: npt.NDArray[np.bool_], share: float = MASK) -> None:
    found = dense(mask)
    assert found.shape == wanted.shape
    assert (found != wanted).sum() <= max(2, share * wanted.size)


def dense(mask: dict[str, Any]) -> npt.NDArray[np.bool_]:
    return coco.decode({"counts": mask["counts"], "size": mask["size"]}).astype(bool)


class Library:
    """Model and processor of a checkpoint, with nothing of ours but the folding of synonyms."""

    def __init__(self, folder: Path) -> None:
        self.processor = Sam3Processor.from_pretrained(folder)
        self.model = Sam3Model.from_pretrained(folder).eval()

        self._known: dict[Any, list[dict[str, Any]]] = {}

    def find(self, data: bytes, prompts: dict[str, str], threshold: float) -> list[dict[str, Any]]:
        key = (data, *prompts.items(), threshold)
        if key not in self._known:
            self._known[key] = self._find(data, prompts, threshold)
        return self._known[key]

    @torch.inference_mode()
    def _find(self, data: bytes, prompts: dict[str, str], threshold: float) -> list[dict[str, Any]]:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        edges = torch.tensor([image.width, image.height] * 2)
        by_class: dict[str, list[dict[str, Any]]] = {}
        for prompt, name in prompts.items():
            inputs = self.processor(images=image, text=prompt, return_tensors="pt")
            seen = self.processor.post_process_instance_segmentation(
                self.model(**inputs),
                threshold=threshold,
                target_sizes=[(image.height, image.width)],
            )[0]
            for score, box, mask in zip(seen["scores"], seen["boxes"], seen["masks"], strict=True):
                box = box.clamp(torch.zeros(4), edges)
                if (box[2:] > box[:2]).all():
                    by_class.setdefault(name, []).append(
                        {"class": name, "prompt": prompt, "score": score, "box": box, "mask": mask}
                    )
        chosen = [
            rows[i]
            for rows in by_class.values()
            for i in nms(
                torch.stack([row["box"] for row in rows]),
                torch.stack([row["score"] for row in rows]),
                0.7,
            ).tolist()
        ]
        for row in chosen:
            row |= {"score": row["score"].item(), "box": row["box"].tolist()}
            row["mask"] = row["mask"].numpy().astype(bool)
        return chosen


def check(
    ours: list[tuple[dict[str, Any], dict[str, Any]]],
    theirs: list[dict[str, Any]],
    score: float = SCORE,
    pixel: float = PIXEL,
    pixels_of_mask: float = MASK,
) -> None:
    """Same instances with the same masks, to these tolerances."""
    assert len(ours) == len(theirs)
    rest = list(theirs)
    for one, mask in ours:  # equal scores may stand in either order
        same = [i for i, row in enumerate(rest) if row["prompt"] == one["prompt"]]
        assert same, f"the library finds no such {one['prompt']}"
        apart = np.abs(np.array([rest[i]["box"] for i in same]) - one["box"]).max(1)
        match = rest.pop(same[int(apart.argmin())])
        assert one["class"] == match["class"]
        assert one["source"] == "sam3"
        assert one["score"] == pytest.approx(match["score"], abs=score)
        assert apart.min() <= pixel
        check_mask(mask, match["mask"], pixels_of_mask)
        assert mask["mask_iou"] is None
