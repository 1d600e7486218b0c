"""Loading a checkpoint of transformers: every step that its models share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from actors.checkpoints import HUB_FILES, checkpoint_folder, load_faults, provenance_of
from actors.failures import SetupError
from actors.hub_model import HubCheckpoint


@dataclass(frozen=True)
class Pretrained:
    """A model of transformers on the CPU, in evaluation mode, and what belongs to it."""

    model: Any
    processor: Any
    folder: Path
    provenance: dict[str, str]


@dataclass(frozen=True)
class Family:
    """How checkpoints of one kind are loaded by transformers.

    Attributes:
        model, processor: classes with a `from_pretrained`.
        remedy: what a user does about files that cannot be loaded.
        title: for messages, e.g. SAM 2.
        types: values of `model_type` that the actor runs; (): any.
        files: patterns of what is fetched from a hub.
    """

    model: Any
    processor: Any
    remedy: str
    title: str = ""
    types: tuple[str, ...] = ()
    files: Sequence[str] = HUB_FILES

    def load(self, wanted: HubCheckpoint, dtype: torch.dtype = torch.float32) -> Pretrained:
        """The model with exactly the weights of the checkpoint.

        Raises SetupError for all others: not there, damaged, incomplete, of another architecture.
        """
        # A bar per worker would drown the run's own log.
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
                f"{name!r} is a {found}, this actor runs {' and '.join(self.types)}",
                f"choose a {self.title} checkpoint",
            )


def whole_model(model: Any, name: str, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """`model.from_pretrained(folder)`, from safetensors alone; `name` is for messages.

    Raises SetupError where weights are missing, and what the library raises.
    """
    loaded, report = model.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, output_loading_info=True
    )
    missing = sorted(report["missing_keys"])
    if missing:  # the library would go on with random weights in their place
        raise SetupError(
            f"{name!r} lacks {len(missing)} weights, {missing[0]} first",
            "fetch the checkpoint anew",
        )
    return loaded
