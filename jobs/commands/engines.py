"""`nightjar engines`: what is there of every engine, and under which licences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs.commands.engine_weights import checkpoints, in_config, pp_ocr, server, timm_checkpoints
from pipelines.engine import environments

#: Seconds for the imports of an environment: torch, transformers and paddlex take 4 to 20 each.
_PROBE_S = 300
_OURS = "ours"
#: Columns of the table where nobody looks: 80, rich's guess, would fold every cell.
_PLAIN_WIDTH = 240


@dataclass(frozen=True)
class Engine:
    """What is known of an engine beforehand. `package`: the one that its version is taken from."""

    name: str
    package: str
    modules: tuple[str, ...]
    weights: Callable[[Path | None], str]  # of its python -> where, or "" if there are none
    code_licence: str
    weights_licence: str
    environment: str | None = None


#: Licences as the packages and the checkpoints' own cards state them, read in November 2026.
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


@dataclass(frozen=True)
class State:
    """A row of the table. `importable`: "yes", or what went wrong."""

    engine: str
    environment: str
    installed: str
    importable: str
    weights: str
    device: str
    code_licence: str
    weights_licence: str


def command(console: Console, *, as_json: bool) -> None:
    """Print the state of every engine. Missing ones are no error: few need all of them."""
    with console.status("importing every engine in its environment"):
        states = survey()
    if as_json:
        sys.stdout.write(json.dumps([asdict(state) for state in states], indent=2) + "\n")
        return
    headings = ("engine", "environment", "installed", "importable", "weights", "device", "licences")
    table = Table(*headings, box=None, padding=(0, 2, 0, 0))
    for one in states:
        licences = f"{one.code_licence} / {one.weights_licence}"
        cells = (one.engine, one.environment, one.installed, one.importable, one.weights)
        table.add_row(*cells, one.device, licences)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    console.print(table, highlight=False, markup=False)
    console.print("licences: of the code / of the weights", highlight=False)


def survey() -> list[State]:
    """Each engine as it is on this machine."""
    names = list(dict.fromkeys(engine.environment for engine in ENGINES))
    with ThreadPoolExecutor() as threads:
        answers = dict(zip(names, threads.map(_asked, names), strict=True))
    return [_state(engine, *answers[engine.environment]) for engine in ENGINES]


def _asked(environment: str | None) -> tuple[Path | None, dict[str, Any] | str]:
    """The python of an environment and its answer, or why there is none."""
    python = Path(sys.executable) if environment is None else environments.find(environment)
    if python is None:
        places = ", ".join(map(str, environments.folders()))
        return None, f"no environment in {places}: make engines"
    modules = {
        module
        for engine in ENGINES
        if engine.environment == environment
        for module in engine.modules
    }
    argv = [str(python), "-m", "jobs.commands.engine_probe", *sorted(modules)]
    quiet = {**os.environ, "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True"}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_PROBE_S, env=quiet)
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        return python, f"{python} does not answer: {type(error).__name__}"
    return python, answer


def _state(engine: Engine, python: Path | None, answer: dict[str, Any] | str) -> State:
    if isinstance(answer, str):
        installed, importable, device = "no", answer, ""
    else:
        version = answer["versions"].get(engine.package)
        installed = f"{engine.package} {version}" if version else "no"
        importable, device = _importable(engine, answer), answer["device"]
    return State(
        engine=engine.name,
        environment=engine.environment or _OURS,
        installed=installed,
        importable=importable,
        weights=engine.weights(python if engine.environment else None) or "not found",
        device=device,
        code_licence=engine.code_licence,
        weights_licence=engine.weights_licence,
    )


def _importable(engine: Engine, answer: dict[str, Any]) -> str:
    faults = [answer["faults"][module] for module in engine.modules if module in answer["faults"]]
    if not answer["versions"].get(engine.package):
        return f"no: {engine.package} is not installed"
    return f"no: {faults[0].splitlines()[0]}" if faults else "yes"
