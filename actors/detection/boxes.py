"""Selects instances from scored boxes: thresholds, sizes, NMS, exclusive classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_convert, box_iou

from actors.instances import Conflict, Instance
from actors.ontology import Ontology

#: Boxes of exclusive classes that are compared with all others in one step. Among 4,500 candidates
#: a step takes 2.3 MB as float32; all of them at once take 81 MB.
ROWS = 128


@dataclass(frozen=True)
class Candidates:
    """Candidate boxes of one image; all tensors have length n.

    Attributes:
        boxes: float32 (n, 4), x0, y0, x1, y1, pixels of the upright image, inside it.
        scores: float32 (n,), 0..1.
        prompts: int64 (n,), index into the ontology's prompts.
    """

    boxes: Tensor
    scores: Tensor
    prompts: Tensor

    def __getitem__(self, index: Tensor) -> Candidates:
        return Candidates(self.boxes[index], self.scores[index], self.prompts[index])

    @staticmethod
    def joined(parts: Sequence[Candidates]) -> Candidates:
        """All candidates of all views and prompt chunks of one image."""
        return Candidates(
            torch.cat([part.boxes for part in parts]),
            torch.cat([part.scores for part in parts]),
            torch.cat([part.prompts for part in parts]),
        )


def in_view(
    boxes: Tensor, view: tuple[int, int, int, int], width: int, height: int
) -> tuple[Tensor, Tensor]:
    """Convert the model's boxes for one view to pixels of the image; marks complete boxes.

    Args:
        boxes: (n, 4) centre x, centre y, width, height, relative to the view, 0..1.
        view: x0, y0, x1, y1, pixels of the upright image.
        width, height: size of the upright image, pixels.

    Returns:
        corners: (n, 4) x0, y0, x1, y1, pixels of the image, clipped to the view.
        whole: bool (n,). False for boxes without area, and for boxes cut by an edge of the view
            inside the image, because another view shows more of that object.
    """
    x0, y0, x1, y1 = view
    scale = torch.tensor([x1 - x0, y1 - y0, x1 - x0, y1 - y0], dtype=boxes.dtype)
    shift = torch.tensor([x0, y0, x0, y0], dtype=boxes.dtype)
    edges = torch.tensor([x0, y0, x1, y1], dtype=boxes.dtype)
    corners = box_convert(boxes, "cxcywh", "xyxy") * scale + shift
    corners = corners.clamp(edges[:2].repeat(2), edges[2:].repeat(2))
    inner = torch.tensor([x0 > 0, y0 > 0, x1 < width, y1 < height])
    # Tolerance 1 % of the view: detectors place a cut edge a few pixels inside the border.
    cut = ((corners - edges).abs() < 0.01 * scale) & inner
    whole = ~cut.any(1) & (corners[:, 2:] > corners[:, :2]).all(1)
    return corners, whole


class Selector:
    """Selects the instances of an image by the rules of an ontology."""

    def __init__(self, ontology: Ontology, nms_iou: float, min_score: float | None) -> None:
        """`min_score`: also select candidates below their class's threshold, down to this score."""
        self._names = list(ontology.classes)
        self._prompts = [prompt for _, prompt in ontology.prompts()]
        owners = [name for name, _ in ontology.prompts()]
        #: int64 (n_prompts,), the class of each prompt
        self.class_of = torch.tensor([self._names.index(name) for name in owners])
        #: float32 (n_prompts,), the lowest score of a label
        self.thresholds = torch.tensor([ontology.threshold_of(name) for name in owners])
        self._min_sizes = torch.tensor([ontology.min_size_of(name) for name in owners])
        floors = self.thresholds if min_score is None else self.thresholds.clamp(max=min_score)
        self.floors = floors  #: float32 (n_prompts,), the lowest score of a candidate
        self.nms_iou = nms_iou
        self._exclusive_iou = ontology.exclusive_iou
        excludes = torch.zeros(len(self._names), len(self._names), dtype=torch.bool)
        for one, other in map(sorted, ontology.exclusive_pairs()):
            i, j = self._names.index(one), self._names.index(other)
            excludes[i, j] = excludes[j, i] = True
        self._excludes = excludes

    def instances(self, found: Candidates, source: str) -> list[Instance]:
        """The instances: kept ones first, then by score, highest first.

        NMS merges synonyms: if two prompts of a class find the same object, the better one stays.
        """
        return [instance for _, instance in self.picked(found, source)]

    def picked(self, found: Candidates, source: str) -> list[tuple[int, Instance]]:
        """`instances`, each with its index among the candidates."""
        sides = (found.boxes[:, 2:] - found.boxes[:, :2]).min(1).values
        places = (sides >= self._min_sizes[found.prompts]).nonzero()[:, 0]
        large = found[places]
        classes = self.class_of[large.prompts]
        places = places[batched_nms(large.boxes, large.scores, classes, self.nms_iou)]
        kept = found.scores[places] >= self.thresholds[found.prompts[places]]
        # Boxes above their threshold go first. Otherwise a box below the high threshold of its
        # class could suppress a kept box of another class.
        order = torch.argsort(found.scores[places] + kept.float(), descending=True, stable=True)
        places, kept = places[order], kept[order]
        found = found[places]
        gone, losers = self._excluded(found)
        winners = (~gone).nonzero()[:, 0]
        instances = self._instances(found, kept, losers, winners.tolist(), source)
        return list(zip(places[winners].tolist(), instances, strict=True))

    def _excluded(self, found: Candidates) -> tuple[Tensor, dict[int, tuple[int, float]]]:
        """Whether each candidate loses, bool (n,), and each winner's best loser with their IoU."""
        classes = self.class_of[found.prompts]
        gone = torch.zeros(len(classes), dtype=torch.bool)
        losers: dict[int, tuple[int, float]] = {}
        left = self._excludes.any(1)[classes].nonzero()[:, 0]
        while len(left):
            rows = left[:ROWS]
            ious = box_iou(found.boxes[rows], found.boxes[left])
            rivals = self._excludes[classes[rows]][:, classes[left]] & (ious >= self._exclusive_iou)
            alive, beaten = _greedy(rivals.numpy())
            for row, column in beaten.items():
                losers[int(left[row])] = int(left[column]), float(ious[row, column])
            lives = torch.from_numpy(alive)
            gone[left[~lives]] = True
            left = left[ROWS:][lives[ROWS:]]
        return gone, losers

    def _instances(
        self,
        found: Candidates,
        kept: Tensor,
        losers: dict[int, tuple[int, float]],
        winners: Sequence[int],
        source: str,
    ) -> list[Instance]:
        """The instances of the candidates `winners`."""
        # Python values of whole columns: 0.3 us an element, where `float(scores[i])` takes 2 us.
        prompts, scores = found.prompts.tolist(), found.scores.tolist()
        boxes, marks = found.boxes.tolist(), kept.tolist()
        names = [self._names[number] for number in self.class_of[found.prompts].tolist()]

        def conflict(i: int) -> Conflict | None:
            if i not in losers:
                return None
            j, iou = losers[i]
            return {"class": names[j], "score": scores[j], "iou": iou}

        return [
            {
                "class": names[i],
                "score": scores[i],
                "box": boxes[i],
                "prompt": self._prompts[prompts[i]],
                "source": source,
                "kept": marks[i],
                "conflict": conflict(i),
            }
            for i in winners
        ]


def _greedy(rivals: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], dict[int, int]]:
    """Remove the rivals of each box in order; a removed box removes none.

    Args:
        rivals: (rows, n); the rows are the first boxes, and the relation is symmetric.

    Returns:
        alive: bool (n,).
        beaten: row -> the first box that it removes.
    """
    alive = np.ones(rivals.shape[1], np.bool_)
    beaten = {}
    for row in np.flatnonzero(rivals.any(1)).tolist():
        losing = rivals[row] & alive
        first = int(losing.argmax())
        if alive[row] and losing[first]:
            beaten[row] = first
            alive &= ~losing
    return alive, beaten
