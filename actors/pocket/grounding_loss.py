"""Grounding DINO's training loss, with fixes for two bugs of transformers 5.23.

The bugs are in `transformers/loss/loss_grounding_dino.py`:

1. The encoder's loss uses `encoder_pred_boxes`, which come from detached coordinates, so the
   encoder's box head does not train. `encoder_loss` uses `enc_outputs_coord_logits` instead.
2. `_get_target_classes_one_hot` adds the length of one label map instead of the sum of all previous
   ones. From the third image of a batch on, all class targets are wrong.

The targets here are also multi-hot: several phrases of a prompt can mean one object ("red", "star"
and "red star"). The library supports one class per object.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import MMGroundingDinoConfig
from transformers.loss.loss_grounding_dino import (
    GroundingDinoHungarianMatcher,
    GroundingDinoImageLoss,
)
from transformers.models.mm_grounding_dino.modeling_mm_grounding_dino import (
    MMGroundingDinoObjectDetectionOutput,
    build_label_maps,
)

Targets = list[dict[str, Tensor]]
Indices = list[tuple[Tensor, Tensor]]


class MultiHotImageLoss(GroundingDinoImageLoss):
    """The library's criterion with explicit token targets for each object.

    ``outputs["label_maps"][i]`` has one row per *object* of image i (n_objects, n_text), and
    ``class_labels`` numbers the objects.
    """

    def __init__(self, config: MMGroundingDinoConfig) -> None:
        matcher = GroundingDinoHungarianMatcher(
            class_cost=config.class_cost, bbox_cost=config.bbox_cost, giou_cost=config.giou_cost
        )
        super().__init__(matcher, config.focal_alpha, ["labels", "boxes"])

    def _get_target_classes_one_hot(
        self, outputs: dict[str, Any], targets: Targets, indices: Indices
    ) -> Tensor:
        wanted = torch.zeros_like(outputs["logits"], dtype=torch.long)
        for row, (label_map, (source, target)) in enumerate(
            zip(outputs["label_maps"], indices, strict=True)
        ):
            wanted[row, source] = label_map[target].long()
        return wanted


def token_maps(phrase_maps: tuple[Tensor, ...], targets: Targets) -> list[Tensor]:
    """The target tokens of each object.

    Args:
        phrase_maps: per image (n_phrases, n_text), 1 for the phrase's tokens.
        targets: ``wanted_by`` (n_objects, n_phrases), 1 where the phrase means the object.

    Returns:
        per image (n_objects, n_text), 0 or 1.
    """
    return [
        (target["wanted_by"].float() @ maps.float()).clamp(max=1)
        for maps, target in zip(phrase_maps, targets, strict=True)
    ]


def _weighted(config: MMGroundingDinoConfig, parts: dict[str, Tensor]) -> Tensor:
    return (
        2.0 * parts["loss_ce"]
        + config.bbox_loss_coefficient * parts["loss_bbox"]
        + config.giou_loss_coefficient * parts["loss_giou"]
    )


def layered_loss(
    config: MMGroundingDinoConfig,
    layers: list[tuple[Tensor, Tensor]],
    phrase_maps: tuple[Tensor, ...],
    text_mask: Tensor,
    targets: Targets,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum over layers of class, L1 and GIoU losses.

    Args:
        config: costs and coefficients.
        layers: (logits (batch, n, n_text), boxes (batch, n, 4) cxcywh 0..1) each.
        phrase_maps: see `token_maps`.
        text_mask: bool (batch, n_text), true for real tokens.
        targets: per image ``class_labels`` (n,) = 0..n-1, ``boxes`` (n, 4), ``wanted_by``.

    Returns:
        the loss, and the parts of the last layer for the log.
    """
    measure = MultiHotImageLoss(config)
    maps = token_maps(phrase_maps, targets)
    total = layers[0][0].new_zeros(())
    parts: dict[str, Tensor] = {}
    for logits, boxes in layers:
        outputs = {
            "logits": logits,
            "pred_boxes": boxes,
            "label_maps": maps,
            "text_mask": text_mask[:, None, :].expand_as(logits),
        }
        parts = measure(outputs, targets)
        total = total + _weighted(config, parts)
    return total, parts


def decoder_loss(
    logits: Tensor,
    labels: Targets,
    device: torch.device,
    pred_boxes: Tensor,
    config: MMGroundingDinoConfig,
    label_maps: tuple[Tensor, ...],
    text_mask: Tensor,
    outputs_class: Tensor,
    outputs_coord: Tensor,
    **encoder: Tensor,
) -> tuple[Tensor, dict[str, Tensor], None]:
    """The loss of all decoder layers, with the signature of the model's `loss_function`.

    The encoder's outputs are ignored here, because the library detaches its boxes (bug 1).
    """
    layers = list(zip(outputs_class, outputs_coord, strict=True))
    loss, parts = layered_loss(config, layers, label_maps, text_mask[:, 0], labels)
    return loss, parts, None


def encoder_loss(
    config: MMGroundingDinoConfig,
    out: MMGroundingDinoObjectDetectionOutput,
    inputs: dict[str, Any],
    targets: Targets,
) -> Tensor:
    """The loss of all proposals of the encoder, with the gradient that bug 1 cuts.

    It matches all image tokens instead of the top `num_queries`, so that low-ranked objects also
    give a gradient.
    """
    # The library pads to max_text_len; without the padding a step takes a third less time.
    input_ids, text_mask = inputs["input_ids"], inputs["attention_mask"].bool()
    assert out.enc_outputs_class is not None  # the model is two-stage
    assert out.enc_outputs_coord_logits is not None
    logits = out.enc_outputs_class[..., : input_ids.shape[1]]
    boxes = out.enc_outputs_coord_logits.sigmoid()
    phrase_maps = build_label_maps(logits, input_ids)
    return layered_loss(config, [(logits, boxes)], phrase_maps, text_mask, targets)[0]
