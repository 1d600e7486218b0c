"""Loading of transformers checkpoints: the steps that all models share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from actors.checkpoints import HUB_FILES, checkpoint_folder, load_faults, provenance_of
from actors.failures import SetupError
from actors.hub_model import HubCheckpoint


@dataclass(frozen=True)
class Pretrained:
    """A transformers model on the CPU, in evaluation mode, with its processor."""

    model: Any
    processor: Any
    folder: Path
    provenance: dict[str, str]


@dataclass(frozen=True)
class Family:
    """How transformers loads checkpoints of one kind.

    Attributes:
        model, processor: classes with a `from_pretrained`.
        remedy: advice to the user if files cannot be loaded.
        title: name for messages, e.g. SAM 2.
        types: supported values of `model_type`; (): any.
        files: patterns of the files to download from a hub.
    """

    model: Any
    processor: Any
    remedy: str
    title: str = ""
    types: tuple[str, ...] = ()
    files: Sequence[str] = HUB_FILES

    def load(self, wanted: HubCheckpoint, dtype: torch.dtype = torch.float32) -> Pretrained:
        """The model with exactly the weights of the checkpoint.

        Raises SetupError if the checkpoint is missing, damaged, incomplete or of another
        architecture.
        """
        # One progress bar per worker would flood the run's log.
        transformers.utils.logging.disable_progress_bar()
        name, folder = wanted.model, checkpoint_folder(wanted, self.files)
        with load_faults(repr(name), folder, self.remedy):
            if self.types:
                self._check_type(name, folder)
            model = whole_model(self.model, name, folder, dtype)
            processor = self.processor.from_pretrained(folder)
        return Pretrained(model.eval(), processor, folder, provenance_of(name, folder))

    def _check_type(self, name: str, folder: Path) -> None:
        found = transformers.AutoConfig.from_pretrained(folder).model_type
        if found not in self.types:
            raise SetupError(
                f"{name!r} is of type {found}; this actor runs {' and '.join(self.types)}",
                f"choose a {self.title} checkpoint",
            )


def whole_model(model: Any, name: str, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """`model.from_pretrained(folder)`, from safetensors only; `name` is for messages.

    Raises SetupError if weights are missing, and the library's errors.
    """
    loaded, report = model.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, output_loading_info=True
    )
    missing = sorted(report["missing_keys"])
    if missing:  # the library would fill them with random weights
        raise SetupError(
            f"{name!r} lacks {len(missing)} weights, e.g. {missing[0]}",
            "download the checkpoint again",
        )
    return loaded


def narrow_products(model: nn.Module, dtype: torch.dtype) -> None:
    """Convert the weights of linear layers and convolutions to autocast's dtype, once.

    Autocast converts them in every forward pass, because it keeps copies only until its context
    ends. What such a layer returns under autocast stays equal bit by bit. Norms, residuals and
    coordinates stay float32, and without autocast the model no longer runs.
    """
    if dtype == torch.float32:
        return
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            module.to(dtype)
