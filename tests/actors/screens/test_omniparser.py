"""OmniParser: a detector whose finds are known, captions by real (random) Florence-2 weights."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tiny_screens
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from actors.failures import SetupError
from actors.hub_model import HubCheckpoint
from actors.lines import LINES
from actors.screens.florence import Captioner
from actors.screens.icons import load_icons
from actors.screens.merging import merged
from actors.screens.omniparser import OmniParser
from actors.screens.settings import OmniParserConfig
from actors.screens.weights import weights_folder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    tiny_screens.save_detector(folder)
    tiny_screens.save_captioner(folder, tiny_screens.florence(), original=True)
    return folder


def screenshot(*cells: tuple[int, int, int], size: tuple[int, int] = (640, 480)) -> bytes:
    """A grey PNG with 8 x 8 red squares: (left, top, red)."""
    pixels = np.full((size[1], size[0], 3), 90, np.uint8)
    for left, top, red in cells:
        pixels[top : top + 8, left : left + 8] = (red, 0, 0)
        pixels[top + 2 : top + 5, left + 2 : left + 4] = (red, 0, left % 256)  # not all alike
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def line(text: str, box: Sequence[float], score: float | None = 0.9) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    return {"text": text, "score": score, "polygon": [x0, y0, x1, y0, x1, y1, x0, y1]}


def table(images: Sequence[bytes | None], lines: Sequence[Any], surface: str = "screenshot") -> Any:
    return pa.table(
        {
            "row_id": list(range(len(images))),
            "image": pa.array(images, pa.binary()),
            "lines": pa.array(lines, LINES),
            "surface": pa.array([surface] * len(images), pa.string()),
        }
    )


def parsed(
    weights: Path, images: Sequence[bytes | None], lines: Sequence[Any], **settings: Any
) -> list[dict[str, Any]]:
    actor = OmniParser(OmniParserConfig(model=str(weights), **{"device": "cpu", **settings}))
    rows = table(images, lines)
    out = actor(rows)
    assert out.schema.equals(pa.schema([*rows.schema, *actor.writes]))
    assert out["row_id"].equals(rows["row_id"])
    return out.to_pylist()


def test_icons_are_found_where_they_are_with_their_scores(weights: Path) -> None:
    image = screenshot((80, 160, 255), (400, 240, 200))
    (row,) = parsed(weights, [image], [[]])
    assert row["parse_failure"] is None
    first, second = row["elements"]
    assert first["box"] == pytest.approx([76, 156, 92, 172])
    assert second["box"] == pytest.approx([396, 236, 412, 252])
    assert first["score"] > second["score"] > 0.5
    assert {(one["type"], one["interactive"], one["text"]) for one in (first, second)} == {
        ("icon", True, None)
    }
    for one in (first, second):
        assert one["caption"]
        assert 0 < one["content_score"] <= 1


def test_boxes_are_those_of_the_whole_picture_whatever_its_size(weights: Path) -> None:
    small = screenshot((80, 160, 255))
    with Image.open(io.BytesIO(small)) as image:
        file = io.BytesIO()
        image.resize((1920, 1440), Image.Resampling.NEAREST).save(file, "PNG")
    (row,) = parsed(weights, [file.getvalue()], [None], captions=False)
    best = max(row["elements"], key=lambda one: one["score"])
    assert best["box"] == pytest.approx([228, 468, 276, 516], abs=3)


def test_text_in_an_icon_is_its_own_and_text_beside_it_an_element(weights: Path) -> None:
    image = screenshot((80, 160, 255), (400, 240, 255))
    inside, outside = line("OK", (78, 158, 90, 166), 0.7), line("Name", (200, 300, 300, 320))
    more = line("now", (78, 164, 90, 171), 0.8)
    (row,) = parsed(weights, [image], [[inside, outside, more]])
    button, icon, label = row["elements"]
    assert (button["text"], button["caption"]) == ("OK now", None)
    assert button["content_score"] == pytest.approx(0.7)
    assert (icon["text"], bool(icon["caption"])) == (None, True)
    assert (label["type"], label["text"], label["interactive"]) == ("text", "Name", False)
    assert (label["score"], label["box"]) == (pytest.approx(0.9), [200, 300, 300, 320])


def test_captions_do_not_depend_on_the_batch(weights: Path) -> None:
    cells = [(40 * n, 40 * n, 255) for n in range(1, 6)]
    images = [screenshot(*cells[:3]), screenshot(*cells[2:])]
    alone = parsed(weights, images, [[], []], captions_at_once=1, images_at_once=1)
    together = parsed(weights, images, [[], []], captions_at_once=64, images_at_once=2)
    said = [one["caption"] for row in together for one in row["elements"]]
    assert said == [one["caption"] for row in alone for one in row["elements"]]
    assert len(said) == 6
    assert len(set(said)) > 1


def test_icons_of_all_screenshots_share_a_batch(weights: Path) -> None:
    actor = OmniParser(OmniParserConfig(model=str(weights), device="cpu", captions_at_once=5))
    captioner = actor._parser._captioner
    assert captioner is not None
    sizes: list[int] = []
    captioner._model.model.vision_tower.register_forward_hook(
        lambda _, inputs, __: sizes.append(len(inputs[0]))
    )
    cells = [(40 * n, 40 * n, 255) for n in range(1, 5)]
    actor(table([screenshot(*cells), screenshot(*cells[:3])], [[], []]))
    assert sizes == [5, 2]


def test_bad_pictures_and_other_surfaces_pass(weights: Path) -> None:
    good = screenshot((80, 160, 255))
    rows = parsed(weights, [good, b"no picture", None], [[], None, []], captions=False)
    assert [row["elements"] and len(row["elements"]) for row in rows] == [1, None, None]
    assert [(row["parse_failure"] or {}).get("kind") for row in rows] == [
        None,
        "CORRUPT_IMAGE",
        None,
    ]
    actor = OmniParser(OmniParserConfig(model=str(weights), device="cpu", captions=False))
    (scene,) = actor(table([b"no picture"], [[]], "scene")).to_pylist()
    assert (scene["elements"], scene["parse_failure"]) == (None, None)


def test_a_screenshot_without_icons_has_its_text(weights: Path) -> None:
    (row,) = parsed(weights, [screenshot()], [[line("Hello", (9, 9, 90, 30), None)]])
    (one,) = row["elements"]
    assert (one["text"], one["score"], one["content_score"]) == ("Hello", None, None)


def test_both_spellings_of_a_florence_2_say_the_same(tmp_path: Path) -> None:
    model = tiny_screens.florence()
    rng = np.random.default_rng(0)
    icons = [rng.integers(0, 255, (30, 20, 3), np.uint8) for _ in range(3)]
    ours = tiny_screens.save_captioner(tmp_path / "ours", model, original=False)
    theirs = tiny_screens.save_captioner(tmp_path / "theirs", model, original=True)
    captions = [Captioner(folder, None, 64, 12, CPU)(icons) for folder in (ours, theirs)]
    assert captions[0] == captions[1]
    assert all(score is None or 0 < score <= 1 for _, score in captions[0])
    assert any(text for text, _ in captions[0])


def test_a_florence_2_that_lacks_a_weight_is_refused(tmp_path: Path) -> None:
    place = tiny_screens.save_captioner(tmp_path, tiny_screens.florence(), original=True)
    state = load_file(place / "model.safetensors")
    missing = "vision_tower.blocks.0.0.channel_block.ffn.fn.net.fc1.bias"
    save_file({k: v for k, v in state.items() if k != missing}, place / "model.safetensors")
    with pytest.raises(SetupError, match=r"channel_block\.ffn\.fc1\.bias"):
        Captioner(place, None, 64, 4, CPU)
    state["language_model.final_logits_bias"] += 1
    save_file(state, place / "model.safetensors")
    with pytest.raises(SetupError, match="final_logits_bias is not zero"):
        Captioner(place, None, 64, 4, CPU)


def test_omniparser_s_weights_come_without_a_tokenizer_and_it_says_so(tmp_path: Path) -> None:
    place = tiny_screens.save_captioner(tmp_path, tiny_screens.florence(), original=True)
    apart = tmp_path / "tokenizer"
    apart.mkdir()
    for file in place.glob("*token*"):
        file.rename(apart / file.name)
    with pytest.raises(SetupError, match="cannot load Florence-2's tokenizer"):
        Captioner(place, None, 64, 4, CPU)
    assert len(Captioner(place, str(apart), 64, 4, CPU)([np.zeros((9, 9, 3), np.uint8)])) == 1


def test_an_ultralytics_checkpoint_works_in_its_place(tmp_path: Path) -> None:
    tiny_screens.save_ultralytics_detector(tmp_path)
    rng = np.random.default_rng(1)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (200, 320, 3), np.uint8)).save(file, "PNG")
    loose = {"min_score": 0.0, "max_icons": 20}
    (row,) = parsed(tmp_path, [file.getvalue()], [[]], captions=False, image_size=320, **loose)
    assert row["parse_failure"] is None
    assert 0 < len(row["elements"]) <= 20
    for one in row["elements"]:
        x0, y0, x1, y1 = one["box"]
        assert 0 <= x0 < x1 <= 320
        assert 0 <= y0 < y1 <= 200
        assert 0 < one["score"] < 1


@pytest.mark.parametrize("broken", ["nothing", "text", "other network"])
def test_what_is_no_detector_is_refused_at_once(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "icon_detect_v3" / "model.pt"
    if broken == "text":
        path.parent.mkdir()
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    if broken == "other network":
        tiny_screens.save_detector(tmp_path, tiny_screens.Wrong())
    with pytest.raises(SetupError):
        OmniParser(OmniParserConfig(model=str(tmp_path), device="cpu"))


def test_code_from_the_hub_must_be_pinned_to_a_commit() -> None:
    name = "microsoft/OmniParser-v2.0"
    for revision in (None, "main", "v2"):
        with pytest.raises(SetupError, match="can change"):
            weights_folder(HubCheckpoint(model=name, revision=revision, local_files_only=True))
    with pytest.raises(SetupError, match="cannot download"):
        weights_folder(HubCheckpoint(model=name, revision="a" * 40, local_files_only=True))
    with pytest.raises(SetupError, match="neither an existing directory nor a hub id"):
        weights_folder(HubCheckpoint(model="./weights"))


class _Nan(tiny_screens.RedCells):
    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        out: list[torch.Tensor] = []
        for stride in (8, 16, 32):
            cells = nn.functional.avg_pool2d(pixels, stride)
            out.append(cells[:, 0:1] * float("nan"))
            out.append(torch.ones_like(cells[:, 0:1]).expand(-1, 4, -1, -1))
        return out


def test_a_detector_that_answers_nan_is_a_named_fault(tmp_path: Path) -> None:
    tiny_screens.save_detector(tmp_path, _Nan())
    (row,) = parsed(tmp_path, [screenshot()], [[]], captions=False)
    assert row["parse_failure"]["kind"] == "ENGINE_FAULT"
    assert row["elements"] is None


BOX = np.array([[0, 0, 100, 100]], np.float32)


def test_the_smaller_of_two_icons_stays() -> None:
    icons = np.array([[0, 0, 100, 100], [10, 10, 40, 40], [200, 0, 240, 40]], np.float32)
    found = merged(icons, [0.9, 0.5, 0.4], [], 0.7)
    assert [one["score"] for one in found] == [0.5, 0.4]
    assert len(merged(icons[:2], [0.9, 0.5], [], 1.0)) == 2


def test_an_icon_within_a_line_is_the_line_and_no_text_is_lost() -> None:
    """An icon that holds a word, all within a long line: OmniParser loses the word."""
    icons = np.array([[20, 2, 40, 18]], np.float32)
    lines = [line("i", (22, 4, 38, 16)), line("a long line", (0, 0, 300, 20))]
    found = merged(icons, [0.9], lines, 0.7)
    assert sorted(one["text"] for one in found) == ["a long line", "i"]
    assert {one["type"] for one in found} == {"text"}


def test_a_line_mostly_outside_is_no_part_of_the_icon_and_unread_lines_play_no_part() -> None:
    lines = [line("half", (50, 40, 150, 60)), line("", (10, 10, 90, 90), None)]
    found = merged(BOX, [0.9], lines, 0.7)
    assert [(one["type"], one["text"]) for one in found] == [("icon", None), ("text", "half")]


def test_one_unknown_line_score_makes_the_icon_s_unknown() -> None:
    lines = [line("a", (10, 10, 40, 20), 0.8), line("b", (10, 30, 40, 40), None)]
    (icon,) = merged(BOX, [0.9], lines, 0.7)
    assert (icon["text"], icon["content_score"]) == ("a b", None)


def test_nothing_on_the_screen_is_an_empty_list() -> None:
    assert merged(np.zeros((0, 4), np.float32), [], [], 0.7) == []


@pytest.mark.long
@pytest.mark.timeout(900)
def test_full_size_random_weights_go_the_whole_way(tmp_path: Path) -> None:
    """Florence-2-base (230 M) and a YOLOv9-E of the same outputs (58 M). Nothing is claimed about
    what they say."""
    path = tmp_path / "icon_detect_v3" / "model.pt"
    path.parent.mkdir()
    pixels = torch.zeros(1, 3, 64, 64)  # any size: it is all convolutions
    torch.jit.trace(tiny_screens.YoloV9E(), pixels, check_trace=False).save(str(path))
    model = tiny_screens.florence(tiny_screens.BASE_WORDS, **tiny_screens.BASE_VISION)
    tiny_screens.save_captioner(tmp_path, model, original=True)
    found = load_icons(path, 320, 0.0, CPU)([np.zeros((320, 320, 3), np.uint8)])
    assert len(found[0].boxes) == 40 * 40 + 20 * 20 + 10 * 10
    rows = parsed(tmp_path, [screenshot((80, 160, 255))] * 2, [[], []], min_score=0.0, max_icons=6)
    for row in rows:
        assert row["parse_failure"] is None
        assert 0 < len(row["elements"]) <= 6
        for one in row["elements"]:  # of 51,289 words the test's tokenizer spells 260
            assert (one["caption"] is None) == (one["content_score"] is None)
            assert 0 < one["score"] < 1
    assert rows[0]["elements"] == rows[1]["elements"]
