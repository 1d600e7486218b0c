"""What is known of each engine beforehand: package, modules, places of weights, licences."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.commands.engines.weights import (
    Look,
    checkpoints,
    in_config,
    pp_ocr,
    server,
    tessdata,
    timm_checkpoints,
)


@dataclass(frozen=True)
class Engine:
    """What is known of an engine before any look at the machine.

    Attributes:
        package: gives the version that the table shows.
        modules: must all be importable.
        weights: python of the engine's environment -> where the weights are; "" if there are none.
        environment: its virtual environment; None: Nightjar's own.
    """

    name: str
    package: str
    modules: tuple[str, ...]
    weights: Look
    code_licence: str
    weights_licence: str
    environment: str | None = None


#: Licences as stated by the packages and by the checkpoints' model cards (November 2026).
ENGINES = (
    Engine(
        "rapid_ocr",
        "rapidocr",
        ("openvino", "onnxruntime", "actors.ocr.rapid_ocr"),
        pp_ocr,
        "Apache-2.0",
        "Apache-2.0",
    ),
    Engine(
        "paddle_ocr",
        "paddleocr",
        ("paddleocr", "onnxruntime", "actors.ocr.paddle_ocr"),
        pp_ocr,
        "Apache-2.0",
        "Apache-2.0",
        "paddle_ocr",
    ),
    Engine(
        "surya",
        "httpx",
        ("actors.ocr.surya",),
        server("SURYA_INFERENCE_URL"),
        "Apache-2.0 (its server)",
        "OpenRAIL-M, conditions for companies",
    ),
    Engine(
        "tesseract",
        "tesserocr",
        ("tesserocr", "openvino", "actors.ocr.tesseract.reader"),
        tessdata,
        "Apache-2.0; tesserocr: MIT",
        "Apache-2.0",
    ),
    Engine(
        "omniparser",
        "transformers",
        ("actors.screens.omniparser", "transformers"),
        checkpoints("florence2"),
        "MIT",
        "MIT; older detectors AGPL-3.0",
    ),
    Engine(
        "grounding_dino",
        "transformers",
        ("actors.detection.grounding_dino", "transformers"),
        checkpoints("grounding-dino", "mm-grounding-dino"),
        "Apache-2.0",
        "Apache-2.0",
    ),
    Engine(
        "sam2",
        "transformers",
        ("actors.segmentation.sam2", "transformers"),
        checkpoints("sam2", "sam2_video"),
        "Apache-2.0",
        "Apache-2.0",
    ),
    Engine(
        "sam3",
        "transformers",
        ("actors.segmentation.sam3", "transformers"),
        checkpoints("sam3", "sam3_video"),
        "Apache-2.0",
        "SAM License (Meta)",
    ),
    Engine(
        "yolo",
        "ultralytics",
        ("actors.detection.yolo", "ultralytics"),
        in_config("a .pt file, named in the config"),
        "AGPL-3.0",
        "AGPL-3.0 (Ultralytics' own)",
    ),
    Engine(
        "vlm",
        "httpx",
        ("actors.escalation.vlm",),
        in_config("at its endpoint, named in the config"),
        "Apache-2.0 (ours)",
        "the served model's",
    ),
    Engine(
        "embedder",
        "timm",
        ("actors.embedding.embed", "timm"),
        timm_checkpoints,
        "Apache-2.0",
        "the checkpoint's; statistics: none",
    ),
)
