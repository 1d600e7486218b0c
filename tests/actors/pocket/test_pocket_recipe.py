"""The pocket world is exact and reproducible; its loss trains parts that the library's does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch import Tensor, nn
from transformers.loss.loss_grounding_dino import GroundingDinoImageLoss

from actors.pocket.grounding_loss import MultiHotImageLoss, decoder_loss, encoder_loss
from actors.pocket.models import detector_config, new_detector, tokenizer
from actors.pocket.prompts import draw_prompt, means, sentence
from actors.pocket.scenes import coco_truth, scene
from actors.pocket.train_detector import Batches, Recipe
from actors.pocket.training import Plan, Trainer
from actors.pocket.words import ALL_KINDS, COLOURS, HELD_OUT, SEEN_KINDS, SHAPES, Kind


def test_a_scene_is_a_function_of_its_seed_and_number() -> None:
    first, again, other = (scene(3, n, 160, 120) for n in (5, 5, 6))
    assert np.array_equal(first.pixels, again.pixels)
    assert not np.array_equal(first.pixels, other.pixels)
    assert first.pixels.shape == (120, 160, 3)


def test_masks_are_disjoint_and_boxes_enclose_them_exactly() -> None:
    for number in range(40):
        item = scene(4, number, 128, 96)
        assert sum(thing.mask.astype(int) for thing in item.things).max(initial=0) <= 1
        for thing in item.things:
            x0, y0, x1, y1 = thing.box.astype(int)
            assert thing.mask[y0:y1, x0:x1].sum() == thing.mask.sum() > 0
            assert thing.mask[y0].any()
            assert thing.mask[y1 - 1].any()
            assert thing.mask[:, x0].any()
            assert thing.mask[:, x1 - 1].any()


def test_coco_truth_decodes_to_the_same_masks() -> None:
    item = scene(4, 1, 128, 96)
    truth = coco_truth([item])
    decoded = [coco_mask.decode(a["segmentation"]) for a in truth["annotations"]]
    assert len(decoded) == len(item.things) > 0
    for found, thing in zip(decoded, item.things, strict=True):
        assert np.array_equal(found.astype(bool), thing.mask)
    names = {c["id"]: c["name"] for c in truth["categories"]}
    assert [names[a["category_id"]] for a in truth["annotations"]] == [
        thing.kind.phrase for thing in item.things
    ]


def test_every_shape_and_colour_is_in_a_held_out_pair_and_none_is_ever_trained() -> None:
    assert {colour for colour, _ in HELD_OUT} == set(COLOURS)
    assert {shape for _, shape in HELD_OUT} == set(SHAPES)
    rng = np.random.default_rng(0)
    for number in range(300):
        things = [thing.kind for thing in scene(5, number, 48, 48, SEEN_KINDS).things]
        assert not {tuple(kind) for kind in things} & HELD_OUT
        _, asked = draw_prompt(rng, things, 20, pair_share=1.0)
        assert not {tuple(kind) for kind in asked if kind} & HELD_OUT


def test_a_phrase_means_what_its_words_say() -> None:
    star = Kind("red", "star")
    assert means(Kind("red", None), star)
    assert means(Kind(None, "star"), star)
    assert means(star, star)
    assert not means(Kind("blue", "star"), star)


def test_any_word_tokenises_and_the_delimiters_have_berts_ids() -> None:
    pocket = tokenizer()
    ids = pocket(sentence(["red star", "zebra 9"]) + "?")["input_ids"]
    assert ids[0] == 101
    assert ids[-1] == 102
    assert ids.count(1012) == 2
    assert ids[-2] == 1029
    assert pocket.unk_token_id not in ids
    assert all(len(pocket.tokenize(word)) == 1 for kind in ALL_KINDS for word in kind if word)


def test_class_targets_hold_for_the_third_image_where_the_librarys_do_not() -> None:
    """Fault 2: the library adds one label map's length where the sum of all before belongs."""
    maps = [torch.eye(8)[:2], torch.eye(8)[2:4], torch.eye(8)[4:6]]
    outputs = {"logits": torch.zeros(3, 4, 8), "label_maps": maps}
    targets = [{"class_labels": torch.arange(2)} for _ in range(3)]
    indices = [(torch.tensor([0, 1]), torch.tensor([0, 1]))] * 3
    ours = MultiHotImageLoss(detector_config())
    mended = ours._get_target_classes_one_hot(outputs, targets, indices)
    for image, wanted in enumerate(maps):
        assert torch.equal(mended[image, :2].float(), wanted)
    faulty = GroundingDinoImageLoss._get_target_classes_one_hot(ours, outputs, targets, indices)
    assert not torch.equal(faulty, mended)  # when this fails, the library has been mended


def test_the_encoders_box_head_gets_a_gradient() -> None:
    """Fault 1: the library takes the encoder's boxes from detached coordinates."""
    torch.manual_seed(0)
    model = new_detector()
    model.loss_function = decoder_loss
    inputs, targets = Batches(Recipe(batch=3), steps=10)(0)
    out = model(**inputs, labels=targets)
    head = model.model.encoder_output_bbox_embed.layers[-1].weight
    assert torch.autograd.grad(out.loss, head, retain_graph=True, allow_unused=True)[0] is None
    encoder_loss(model.config, out, inputs, targets).backward()
    assert head.grad is not None
    assert head.grad.abs().sum() > 0


def test_a_batch_is_a_function_of_its_step() -> None:
    (one, _), (two, _) = (Batches(Recipe(batch=4), steps=10)(7) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_training_cut_short_and_resumed_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = _fit(tmp_path / "whole.pt", cut=None)
    with pytest.raises(KeyboardInterrupt):
        _fit(tmp_path / "cut.pt", cut=7)
    assert torch.equal(_fit(tmp_path / "cut.pt", cut=None), whole)


def _fit(checkpoint: Path, cut: int | None) -> Tensor:
    torch.manual_seed(1)
    model = nn.Linear(4, 1)

    def loss_of_step(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        if step == cut:
            raise KeyboardInterrupt
        rows = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        return (model(rows) - rows.sum(1, keepdim=True)).square().mean(), {}

    trainer = Trainer(model, Plan(steps=10, peak_lr=0.1, warmup=2, save_every=3), checkpoint)
    trainer.run(loss_of_step)
    trainer.use_average()
    return model.weight.detach().clone()
