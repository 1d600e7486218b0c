"""`nightjar engines` through the real command: each engine is imported in its environment."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from jobs.commands.engines.catalogue import ENGINES
from jobs.commands.engines.weights import checkpoints
from pipelines.engine import environments

NAMES = [
    *("rapid_ocr", "paddle_ocr", "surya", "tesseract"),
    *("omniparser", "grounding_dino", "sam2", "sam3", "yolo", "vlm", "embedder"),
]


def listed(nightjar: Any) -> dict[str, dict[str, str]]:
    ended = nightjar("engines", "--json")
    assert ended.code == 0, ended.err
    states: list[dict[str, str]] = json.loads(ended.out)
    return {state["engine"]: state for state in states}


def test_every_engine_is_listed_with_its_state(nightjar: Any) -> None:
    states = listed(nightjar)
    assert list(states) == NAMES
    rapid = states["rapid_ocr"]
    assert rapid["installed"] == f"rapidocr {version('rapidocr')}"
    assert rapid["importable"] == "yes"
    assert "wheel" in rapid["weights"]
    tesseract = states["tesseract"]
    assert tesseract["installed"] == "no" or tesseract["installed"].startswith("tesserocr 2.")
    assert "/tessdata" in tesseract["weights"] or "apt-get install" in tesseract["weights"]
    assert "pocket detector" in states["grounding_dino"]["weights"]
    assert states["sam3"]["weights"] == "not found"
    assert states["yolo"]["code_licence"] == "AGPL-3.0"
    assert all(state["importable"] == "yes" for state in states.values() if state["installed"])
    paddle = states["paddle_ocr"]
    if environments.find("paddle_ocr"):
        assert paddle["installed"].startswith("paddleocr 3.7")
        assert paddle["environment"] == "paddle_ocr"
    else:
        assert "make engines" in paddle["importable"]


def test_a_missing_environment_and_a_broken_one_are_told_apart(
    nightjar: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without the imports of our own environment, which take the time."""
    from jobs.commands.engines import command

    monkeypatch.setenv("NIGHTJAR_VENVS", str(tmp_path))
    (paddle,) = (engine for engine in ENGINES if engine.name == "paddle_ocr")
    assert "make engines" in command._state(paddle, *command._asked("paddle_ocr")).importable
    python = tmp_path / "paddle_ocr" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    state = command._state(paddle, *command._asked("paddle_ocr"))
    assert "does not answer" in state.importable
    assert state.weights == "not found"


def test_checkpoints_are_found_in_the_hubs_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    snapshot = tmp_path / "models--facebook--sam3" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text('{"model_type": "sam3_video"}')
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    look = checkpoints("sam3", "sam3_video")
    assert look(None) == "", "a config without weights is no checkpoint"
    (snapshot / "model.safetensors").touch()
    assert look(None) == "facebook/sam3"
