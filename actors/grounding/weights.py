"""Loading a Grounding DINO from a hub or a directory, and what must hold before it may run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForZeroShotObjectDetection, AutoProcessor

from actors.failures import SetupError
from actors.grounding.prompts import CLS, DOT, QUESTION, SEP
from actors.grounding.settings import Device

MODEL_TYPES = ("grounding-dino", "mm-grounding-dino")
#: What is fetched from a hub: no pickles and no code.
FILES = ["*.safetensors", "*.json", "*.txt"]


@dataclass(frozen=True)
class Loaded:
    """A model ready to run, float32, in evaluation mode, with its processor."""

    model: Any  # GroundingDinoForObjectDetection or MMGroundingDinoForObjectDetection
    processor: Any  # GroundingDinoProcessor
    device: torch.device
    provenance: dict[str, str]


class RememberedText(nn.Module):
    """Runs a model's text encoder once per prompt and repeats its answer for every image.

    The library encodes the same prompt anew for each image of each batch: on one CPU core that is
    1.0 % of a forward of grounding-dino-tiny at 800 x 800 px and batch 1, 5 % at 320 x 320, and
    4 to 7 % of a forward of the pocket model.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self._known: dict[tuple[int, ...], Any] = {}

    def forward(self, input_ids: Tensor, *args: Any, **kwargs: Any) -> Any:
        """The encoder's output for ids (batch, length) whose rows are all the same prompt."""
        prompt = tuple(input_ids[0].tolist())
        if prompt not in self._known:
            first = [arg[:1] if isinstance(arg, Tensor) else arg for arg in args]
            self._known[prompt] = self.encoder(input_ids[:1], *first, **kwargs)
        answer = self._known[prompt]
        features = answer.last_hidden_state.expand(len(input_ids), -1, -1)
        return type(answer)(last_hidden_state=features)


def pick_device(wanted: Device) -> torch.device:
    """The device to run on. Raises SetupError where the wanted one is not there."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SetupError(
            "the config asks for device cuda, and this worker sees no CUDA device",
            "give the pool num_gpus, or set device: cpu",
        )
    return torch.device(wanted)


def load(name: str, revision: str | None, local_files_only: bool, wanted: Device) -> Loaded:
    """Load the model `name`: a local directory, or a hub id at `revision`.

    Raises SetupError for everything that keeps the weights from being exactly those of the
    checkpoint: not there, damaged, incomplete, of another architecture, with foreign token ids.
    """
    device = pick_device(wanted)
    # A bar per worker would drown the run's own log.
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    folder = _folder(name, revision, local_files_only)
    try:
        model = _model(name, folder)
        processor = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]  # transformers
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise SetupError(
            f"cannot load {name!r} from {folder}: {type(error).__name__}: {error}",
            "fetch the checkpoint anew: config, processor, tokenizer and safetensors belong to it",
        ) from error
    _check_tokens(name, processor.tokenizer)
    model.model.text_backbone = RememberedText(model.model.text_backbone)
    provenance = {
        "model": name,
        "revision": folder.name if folder.parent.name == "snapshots" else "",
        "weights_sha256": _digest(folder),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
    }
    return Loaded(model.to(device).eval(), processor, device, provenance)


def _folder(name: str, revision: str | None, local_files_only: bool) -> Path:
    if Path(name).is_dir():
        return Path(name)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise SetupError(
            f"no directory {name!r}, and it is no hub id (owner/name)",
            "set `model` to a checkpoint's directory or its hub id",
        )
    try:
        return Path(
            snapshot_download(
                name, revision=revision, local_files_only=local_files_only, allow_patterns=FILES
            )
        )
    except (OSError, ValueError) as error:  # all of the hub client's errors are one of the two
        raise SetupError(
            f"cannot get {name!r} at revision {revision or 'main'}: {type(error).__name__}: "
            f"{error}",
            "download it where a hub can be reached and set `model` to its directory, or check "
            "its name and revision",
        ) from error


def _model(name: str, folder: Path) -> Any:
    config = AutoConfig.from_pretrained(folder)
    if config.model_type not in MODEL_TYPES:
        raise SetupError(
            f"{name!r} is a {config.model_type}, this actor runs {' and '.join(MODEL_TYPES)}",
            "choose a Grounding DINO checkpoint",
        )
    model, report = AutoModelForZeroShotObjectDetection.from_pretrained(
        folder, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True
    )
    if report["missing_keys"]:  # the library would go on with random weights in their place
        raise SetupError(
            f"{name!r} lacks {len(report['missing_keys'])} weights, "
            f"{sorted(report['missing_keys'])[0]} first",
            "fetch the checkpoint anew",
        )
    return model


def _check_tokens(name: str, tokenizer: Any) -> None:
    """The model's code finds phrases by BERT's ids; another vocabulary would merge them."""
    for token, expected in (("[CLS]", CLS), ("[SEP]", SEP), (".", DOT), ("?", QUESTION)):
        found = tokenizer.convert_tokens_to_ids(token)
        if found != expected:
            raise SetupError(
                f"the tokenizer of {name!r} gives {token!r} the id {found}, the model's code "
                f"expects {expected}",
                "use the tokenizer that belongs to the checkpoint",
            )


def _digest(folder: Path) -> str:
    """SHA-256 over the safetensors files of a checkpoint, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
