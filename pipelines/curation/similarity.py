"""What embeddings say about a dataset: how unique a sample is, which are near duplicates, what is
alike.

The index for "sort by similarity" is FiftyOne's own (scikit-learn). The figures are not: its
uniqueness (fiftyone-brain 0.25, up to 15,000 samples) leaves out the nearest neighbour, so that of
two twins among strangers each was the most unique sample (ran), and its duplicates are found about
the mean of all embeddings, so that no threshold means the same in two datasets.

All embeddings are in memory (4 bytes a number: 100,000 of 384 are 150 MB), and the comparisons grow
with the square of the samples.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.curation.dataset import DUPLICATES
from pipelines.errors import ConfigError

#: The similarity index in the app's menu.
SIMILAR = "similar"
UNIQUENESS = "uniqueness"
DUPLICATE_OF = "near_duplicate_of"

#: Of the nearest, the second and the third other sample: FiftyOne's own.
_WEIGHTS = (0.6, 0.3, 0.1)
#: Rows that are compared with all others at once: 100 MB for 100,000 of them.
_BLOCK = 256

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BrainSummary:
    """Samples with an embedding, and those of them that are near duplicates of another."""

    embedded: int
    duplicates: int


def compute(fo: Any, dataset: Any, near: float) -> BrainSummary:
    """Fill `uniqueness` and `near_duplicate_of`, save the view, make the similarity index.

    Args:
        fo: the module fiftyone.
        dataset: with the field `embedding`; samples without one are left out.
        near: cosine distance (0: the same direction) up to which two are near duplicates.

    Raises ConfigError: fewer than two embeddings, or they are of different lengths.
    """
    embedded = dataset.exists("embedding")
    ids, rows, found = embedded.values(["id", "row_id", "embedding"])
    if len({len(vector) for vector in found}) > 1:
        raise ConfigError(
            f"the embeddings of {dataset.name!r} are of different models",
            "give each run a dataset of its own with --name",
        )
    if len(found) < 2:
        raise ConfigError(
            f"{len(found)} samples of {dataset.name!r} have an embedding",
            "run autolabel with an embedder in its config, and curate again",
        )
    vectors = _units(np.stack(found))
    twins = {ids[one]: rows[other] for one, other in near_duplicates(vectors, near).items()}
    _fill(dataset, fo.FloatField, UNIQUENESS, dict(zip(ids, uniqueness(vectors), strict=True)))
    _fill(dataset, fo.StringField, DUPLICATE_OF, twins)
    view = dataset.exists(DUPLICATE_OF).sort_by(DUPLICATE_OF)
    dataset.save_view(DUPLICATES, view, description="alike but for little", overwrite=True)
    _index(dataset, embedded)
    return BrainSummary(len(ids), len(twins))


def _units(vectors: npt.NDArray[Any]) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Floats = (vectors / np.maximum(lengths, 1e-6)).astype(np.float32)
    return units


def uniqueness(vectors: Floats) -> list[float]:
    """How far each vector is from its nearest others, 0..1: 1 is the farthest of all.

    The mean cosine distance of the three nearest, weighted 0.6, 0.3, 0.1, out of the largest such
    mean. Twins are near 0 to each other.

    Args:
        vectors: (n, length), of unit length, n >= 2.
    """
    from sklearn.neighbors import NearestNeighbors  # 3 s that curate without --brain does not pay

    count = min(len(_WEIGHTS), len(vectors) - 1)
    nearest = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute")
    distances, _ = nearest.fit(vectors).kneighbors()  # without a query nobody is his own neighbour
    weighted = distances @ np.array(_WEIGHTS[:count]) / sum(_WEIGHTS[:count])
    return [float(one) for one in np.maximum(weighted, 0) / max(weighted.max(), 1e-6)]


def near_duplicates(vectors: Floats, near: float) -> dict[int, int]:
    """Which vectors are near one that stands before them and is no duplicate itself.

    Args:
        vectors: (n, length), of unit length.
        near: cosine distance up to which two are duplicates.

    Returns place -> place of the nearest that stays.
    """
    found: dict[int, int] = {}
    stays: list[int] = []
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        before, columns = 1 - block @ vectors[stays].T, np.array(stays, np.int64)
        within = 1 - block @ block.T
        alone = np.zeros(len(block), bool)  # those of the block that stay
        for row in range(len(block)):
            distances = np.concatenate([before[row], within[row, alone]])
            places = np.concatenate([columns, start + np.flatnonzero(alone)])
            nearest = int(distances.argmin()) if len(distances) else -1
            if nearest >= 0 and distances[nearest] <= near:
                found[start + row] = int(places[nearest])
            else:
                alone[row] = True
        stays += (start + np.flatnonzero(alone)).tolist()
    return found


def _fill(dataset: Any, kind: Any, name: str, values: dict[str, Any]) -> None:
    """Set a field of these samples, by id, and of no others."""
    dataset.add_sample_field(name, kind)
    dataset.clear_sample_field(name)
    if values:
        dataset.set_values(name, values, key_field="id")


def _index(dataset: Any, embedded: Any) -> None:
    brain = importlib.import_module("fiftyone.brain")
    if dataset.has_brain_run(SIMILAR):
        dataset.delete_brain_run(SIMILAR)
    brain.compute_similarity(
        embedded, embeddings="embedding", brain_key=SIMILAR, backend="sklearn", metric="cosine"
    )
