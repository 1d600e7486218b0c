"""Uniqueness, near duplicates and the similarity index of a dataset, from its embeddings.

Only the index for "sort by similarity" is FiftyOne's (scikit-learn). Its other figures
(fiftyone-brain 0.25, up to 15,000 samples) are wrong or not comparable: uniqueness leaves out the
nearest neighbour, so that two twins were rated as the most unique samples; near duplicates are
computed from centred embeddings, so that a threshold has a different meaning in each dataset.

All embeddings are in memory (100,000 of 384 float32 take 150 MB). The time grows with the square of
the number of samples.
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

#: Weights of the three nearest neighbours, as in FiftyOne.
_WEIGHTS = (0.6, 0.3, 0.1)
#: Rows that are compared with all others at once: takes 100 MB for 100,000 rows.
_BLOCK = 256

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BrainSummary:
    """Number of samples with an embedding, and of near duplicates among them."""

    embedded: int
    duplicates: int


def compute(fo: Any, dataset: Any, near: float) -> BrainSummary:
    """Set `uniqueness` and `near_duplicate_of`, save a view, build the similarity index.

    Args:
        fo: the module fiftyone.
        dataset: with the field `embedding`; samples without one are left out.
        near: largest cosine distance of near duplicates (0: same direction).

    Raises ConfigError for fewer than two embeddings or embeddings of different lengths.
    """
    embedded = dataset.exists("embedding")
    ids, rows, found = embedded.values(["id", "row_id", "embedding"])
    if len({len(vector) for vector in found}) > 1:
        raise ConfigError(
            f"the embeddings of {dataset.name!r} come from different models",
            "put each run into its own dataset with --name",
        )
    if len(found) < 2:
        raise ConfigError(
            f"{len(found)} samples of {dataset.name!r} have an embedding, at least 2 are needed",
            "run autolabel with an embedder in its config, then curate again",
        )
    vectors = _units(np.stack(found))
    twins = {ids[one]: rows[other] for one, other in near_duplicates(vectors, near).items()}
    _fill(dataset, fo.FloatField, UNIQUENESS, dict(zip(ids, uniqueness(vectors), strict=True)))
    _fill(dataset, fo.StringField, DUPLICATE_OF, twins)
    view = dataset.exists(DUPLICATE_OF).sort_by(DUPLICATE_OF)
    dataset.save_view(DUPLICATES, view, description="almost equal images", overwrite=True)
    _index(dataset, embedded)
    return BrainSummary(len(ids), len(twins))


def _units(vectors: npt.NDArray[Any]) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Floats = (vectors / np.maximum(lengths, 1e-6)).astype(np.float32)
    return units


def uniqueness(vectors: Floats) -> list[float]:
    """Distance of each vector to its nearest neighbours, 0..1; 1 for the most distant vector.

    The weighted mean cosine distance (0.6, 0.3, 0.1) to the three nearest vectors, divided by the
    largest such mean. Twins are near 0.

    Args:
        vectors: (n, length), of unit length, n >= 2.
    """
    from sklearn.neighbors import NearestNeighbors  # takes 3 s; only --brain needs it

    count = min(len(_WEIGHTS), len(vectors) - 1)
    nearest = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute")
    distances, _ = nearest.fit(vectors).kneighbors()  # without a query: excludes the vector itself
    weighted = distances @ np.array(_WEIGHTS[:count]) / sum(_WEIGHTS[:count])
    return [float(one) for one in np.maximum(weighted, 0) / max(weighted.max(), 1e-6)]


def near_duplicates(vectors: Floats, near: float) -> dict[int, int]:
    """Vectors that are near an earlier vector which is no duplicate itself.

    Args:
        vectors: (n, length), of unit length.
        near: largest cosine distance of duplicates.

    Returns index of the duplicate -> index of the nearest vector that stays.
    """
    found: dict[int, int] = {}
    stays: list[int] = []
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        before, columns = 1 - block @ vectors[stays].T, np.array(stays, np.int64)
        within = 1 - block @ block.T
        alone = np.zeros(len(block), bool)  # vectors of the block that stay
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
    """Set a field of the samples with these ids and clear it in all others."""
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
