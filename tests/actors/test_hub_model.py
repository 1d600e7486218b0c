"""The settings that all models of a hub share."""

from __future__ import annotations

import subprocess
import sys

import pytest

from actors.detection.grounding.settings import GroundingDinoConfig
from actors.embedding.settings import TimmConfig
from actors.endpoint.vision_language import VisionLanguageConfig
from actors.hub_model import HubCheckpoint, HubModel
from actors.screens.settings import OmniParserConfig
from actors.segmentation.settings import Sam2Config, Sam3Config
from actors.surfaces.settings import SurfaceZeroShot

MODELS = (
    GroundingDinoConfig,
    Sam2Config,
    Sam3Config,
    SurfaceZeroShot,
    TimmConfig,
    VisionLanguageConfig,
)


@pytest.mark.parametrize("config", MODELS)
def test_a_copy_on_another_device_is_the_same_model(config: type[HubModel]) -> None:
    assert {"local_files_only", "device"} <= config.operational
    assert not {"model", "revision", "dtype"} & config.operational


def test_a_model_of_fixed_precision_takes_no_dtype() -> None:
    assert issubclass(OmniParserConfig, HubCheckpoint)
    assert "dtype" not in OmniParserConfig.model_fields


def test_the_driver_reads_them_without_torch() -> None:
    code = "import sys, actors.hub_model; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
