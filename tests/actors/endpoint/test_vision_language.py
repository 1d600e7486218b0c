"""The fallback's engine on a tiny model of the real class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_qwen import tiny_qwen, vocabulary
from transformers import AutoModelForImageTextToText, AutoProcessor

from actors.endpoint.vision_language import Question, VisionLanguage, VisionLanguageConfig
from actors.failures import SetupError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_qwen(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def model(folder: Path) -> VisionLanguage:
    return VisionLanguage(VisionLanguageConfig(model=str(folder)))


def question(seed: int, size: tuple[int, int], text: str, most: int = 12) -> Question:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    content = [{"type": "image", "image": Image.fromarray(pixels)}, {"type": "text", "text": text}]
    return Question([{"role": "user", "content": content}], most)


def test_a_batch_answers_as_each_question_alone(folder: Path, model: VisionLanguage) -> None:
    """Pictures and prompts of unequal size; the reference is the library with one question."""
    asked = [
        question(1, (100, 160), "Read."),
        question(2, (60, 90), "Read all that is there, please."),
        question(3, (120, 60), "x", most=5),
    ]
    reference = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    for one, answer in zip(asked, model.answer(asked), strict=True):
        inputs = processor.apply_chat_template(
            one.messages,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            said = reference.generate(**inputs, max_new_tokens=one.max_tokens, do_sample=False)
        new = said[0, inputs["input_ids"].shape[1] :]
        assert answer.text == processor.decode(new, skip_special_tokens=True).strip()
        assert answer.prompt_tokens == inputs["input_ids"].shape[1]
        assert answer.completion_tokens == len(new)


def test_an_answer_that_is_cut_off_says_so(model: VisionLanguage) -> None:
    (cut,) = model.answer([question(1, (100, 160), "Read.", most=3)])
    assert (cut.finish_reason, cut.completion_tokens) == ("length", 3)


def test_an_answer_that_ends_by_itself_says_so(folder: Path, tmp_path: Path) -> None:
    """The same checkpoint with a generation config that takes every token for the end."""
    copy_of(folder, tmp_path)
    path = tmp_path / "generation_config.json"
    settings = json.loads(path.read_text()) | {"eos_token_id": list(vocabulary().values())}
    path.write_text(json.dumps(settings))
    model = VisionLanguage(VisionLanguageConfig(model=str(tmp_path)))
    (answer,) = model.answer([question(1, (100, 160), "Read.")])
    assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("", "stop", 0)


def copy_of(folder: Path, target: Path) -> None:
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())


def test_a_hub_gives_the_chat_template_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`save_pretrained` writes it to a file of its own, and the hub sends what is asked for."""

    def download(name: str, *, allow_patterns: list[str], **_: object) -> str:
        names = [path.name for path in folder.iterdir()]
        for file in filter_repo_objects(names, allow_patterns=allow_patterns):
            (tmp_path / file).write_bytes((folder / file).read_bytes())
        return str(tmp_path)

    assert (folder / "chat_template.jinja").is_file()
    monkeypatch.setattr("actors.checkpoints.snapshot_download", download)
    model = VisionLanguage(VisionLanguageConfig(model="owner/name"))
    assert model.answer([question(1, (100, 160), "Read.", most=3)])


def test_weights_that_are_missing_are_refused(folder: Path, tmp_path: Path) -> None:
    copy_of(folder, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop(next(name for name in weights if "mlp" in name))
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SetupError, match="lacks 1 weights"):
        VisionLanguage(VisionLanguageConfig(model=str(tmp_path)))


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot load"):
        VisionLanguage(VisionLanguageConfig(model=str(tmp_path)))
