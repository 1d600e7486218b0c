"""Convert a row of a run to the fields of a FiftyOne sample."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.curation.changes import IMAGE_PARTS, elements, label_id, parts_digests
from pipelines.curation.masks import cropped
from pipelines.curation.media import Media
from pipelines.decisions.triage import Reason

#: The label of every line. Not its text: the app lists all values of a label in the sidebar.
LINE = "line"

#: Increase when samples are built differently: all rows then count as changed.
FORMAT = 1

#: Columns used for a sample. Older runs lack some of them.
COLUMNS = (
    *("row_id", "uri", "page", "pages", "etag", "bytes", "kind", "width", "height", "rotation"),
    *("outcome", "reasons", "fetch_failure", "detect_failure", "segment_failure", "ocr_failure"),
    *("text", "text_source", "lines", "lines_source", "evidence"),
    *("vlm_text", "vlm_model", "vlm_failure", "instances", "embedding", "embed_failure"),
)


def key_of(row_id: int) -> str:
    """A row id as FiftyOne stores it: a string, because JavaScript's numbers hold 53 bits."""
    return str(row_id)


def row_digest(row: Mapping[str, Any], gain: float) -> str:
    """Digest of all inputs of a sample except its picture."""
    made_of = (FORMAT, sorted(row.items()), gain)
    return hashlib.blake2b(repr(made_of).encode(), digest_size=8).hexdigest()


def sample_values(fo: Any, row: Mapping[str, Any], gain: float, media: Media) -> dict[str, Any]:
    """The fields of one sample, without `run` and `row_digest`.

    Args:
        fo: the module fiftyone.
        row: those of `COLUMNS` that its run has.
        gain: see `pipelines.review.gain`.
        media: its picture.
    """
    values = media_values(fo, row, media) | {
        "tags": own_tags(row),
        "row_id": key_of(row["row_id"]),
        "document": row["uri"],
        "page": row["page"],
        "pages": row["pages"],
        "outcome": row["outcome"],
        "reasons": list(row["reasons"] or ()),
        "gain": gain,
        "failures": failures_of(row),
    }
    if row.get("embedding") is not None:
        values["embedding"] = np.array(row["embedding"], np.float32)
    if "instances" in row:
        values |= _labels(fo, row)
    else:
        values |= _page(fo, row, values["metadata"].width, values["metadata"].height)
    return values | {"as_curated": " ".join(parts_digests(values.get, "instances" in row))}


def media_values(fo: Any, row: Mapping[str, Any], media: Media) -> dict[str, Any]:
    """The fields of a sample's picture."""
    width, height = row["width"] or media.width, row["height"] or media.height
    return {
        "filepath": media.path,
        "metadata": fo.ImageMetadata(width=width, height=height),
        "media_failure": media.failure,
    }


def mask_bytes(values: Mapping[str, Any]) -> int:
    """Memory of the masks among a sample's fields, in bytes."""
    labels = [one for name in IMAGE_PARTS for one in elements(values.get(name))]
    return sum(one.mask.nbytes for one in labels if one.mask is not None)


def own_tags(row: Mapping[str, Any]) -> list[str]:
    """The tags that Nightjar gives a sample: outcome and reasons."""
    return [row["outcome"], *(row["reasons"] or ())]


def failures_of(row: Mapping[str, Any]) -> list[str]:
    """`verb: KIND message` for each failure of a row."""
    there = {name: row[name] for name in row if name.endswith("_failure") and row[name]}
    return [
        f"{name.removesuffix('_failure')}: {fault['kind']} {fault['message']}".strip()
        for name, fault in there.items()
    ]


def _labels(fo: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """`instances` and `candidates`; None if the image was not labelled."""
    if row["instances"] is None:
        return dict.fromkeys(IMAGE_PARTS)
    kept: list[Any] = []
    candidates: list[Any] = []
    for place, label in enumerate(row["instances"]):
        below = Reason.BELOW_THRESHOLD in label["reasons"]
        (candidates if below else kept).append(_detection(fo, row, place, label))
    return {
        "instances": fo.Detections(detections=kept),
        "candidates": fo.Detections(detections=candidates),
    }


def _detection(fo: Any, row: Mapping[str, Any], place: int, label: Mapping[str, Any]) -> Any:
    x0, y0, x1, y1 = label["box"]
    width, height = row["width"], row["height"]
    mask = label["mask"]
    return fo.Detection(
        id=label_id(row["row_id"], place),
        label=label["class"],
        bounding_box=[x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
        mask=None if mask is None else cropped(mask, label["box"]),
        confidence=_finite(label["score"]),
        mask_iou=_finite(label["mask_iou"]),
        box_agreement=_finite(label["box_agreement"]),
        prompt=label["prompt"],
        source=label["source"],
        reasons=list(label["reasons"]),
    )


def _page(fo: Any, row: Mapping[str, Any], width: int | None, height: int | None) -> dict[str, Any]:
    evidence = row.get("evidence") or {}
    names = ("text_source", "lines_source", "vlm_text", "vlm_model")
    figures = ("mean_score", "ink_covered", "expected_cer")
    return {
        "text": row["text"],
        "lines": _lines(fo, row, width, height),
        **{name: row.get(name) for name in names},
        **{name: _finite(evidence.get(name)) for name in figures},
    }


def _lines(fo: Any, row: Mapping[str, Any], width: int | None, height: int | None) -> Any:
    if row["lines"] is None or not width or not height:
        return None
    lines = [
        fo.Polyline(
            id=label_id(row["row_id"], place),
            label=LINE,
            points=[_relative(line["polygon"], width, height)],
            closed=True,
            filled=False,
            confidence=_finite(line["score"]),
            text=line["text"],
            row=line.get("row"),
            column=line.get("column"),
        )
        for place, line in enumerate(row["lines"])
    ]
    return fo.Polylines(polylines=lines)


def _relative(polygon: Sequence[float], width: int, height: int) -> list[tuple[float, float]]:
    return [(x / width, y / height) for x, y in zip(polygon[::2], polygon[1::2], strict=True)]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
