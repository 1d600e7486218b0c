"""A checkpoint's files and their digest, and the device and dtype it runs on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download

from actors.contract import Device
from actors.failures import SetupError
from actors.heap import keep_freed_memory
from actors.hub_model import HubCheckpoint

#: Files that are downloaded from a hub: no pickles and no code.
HUB_FILES = ("*.safetensors", "*.json", "*.txt")
#: The same, plus chat templates, which `save_pretrained` writes to separate files.
CHAT_FILES = (*HUB_FILES, "*.jinja")


@dataclass(frozen=True)
class Placement:
    """The device and dtype of a model."""

    device: torch.device
    dtype: torch.dtype

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def provenance(self, library: Any = None) -> dict[str, str]:
        """Entries for `run.json`: device and dtype; versions if the engine is a torch `library`."""
        name = torch.cuda.get_device_name() if self.on_gpu else "cpu"
        said = {"device": name, "dtype": str(self.dtype).removeprefix("torch.")}
        if library is None:
            return said
        versions = f"{library.__name__} {library.__version__}, torch {torch.__version__}"
        return said | {"engine": versions}


@contextmanager
def load_faults(what: str, folder: Path, remedy: str) -> Iterator[None]:
    """Turn library errors about the files in `folder` into a SetupError."""
    try:
        yield
    except SetupError:
        raise
    except Exception as error:  # json, safetensors, torch, transformers and timm have their own
        raise SetupError(
            f"cannot load {what} from {folder}: {type(error).__name__}: {str(error)[:2000]}", remedy
        ) from error


def pick_placement(
    device: Device, dtype: str, on_gpu: str = "bfloat16", on_cpu: str = "float32"
) -> Placement:
    """The device and dtype of a config; dtype auto means `on_gpu` on cuda, else `on_cpu`.

    Raises SetupError (see `pick_device`).
    """
    found = pick_device(device)
    if dtype == "auto":
        dtype = on_gpu if found.type == "cuda" else on_cpu
    return Placement(found, getattr(torch, dtype))


def pick_device(wanted: Device) -> torch.device:
    """The device to run on. On a CPU, this process also keeps freed memory for the next forward.

    Raises SetupError if the device is not available.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    elif wanted == "cuda" and not torch.cuda.is_available():
        raise SetupError(
            "the config sets device: cuda, but this worker has no CUDA device",
            "set num_gpus: auto in the pool's settings, or set device: cpu",
        )
    if wanted == "cpu":
        keep_freed_memory()
    return torch.device(wanted)


def best_on_cpu() -> str:
    """bfloat16 if this CPU has instructions for it (AMX, AVX512_BF16), else float32.

    Seconds per image on one thread of an EPYC with AVX512_BF16, float32 and bfloat16:
    grounding-dino-tiny at 800 x 800 px 7.5 and 3.0, sam2.1-hiera-tiny 3.7 and 1.5, SAM 3 55 and 18.
    """
    known = torch.cpu.get_capabilities()
    return "bfloat16" if known.get("amx_bf16") or known.get("avx512_bf16") else "float32"


def checkpoint_folder(wanted: HubCheckpoint, files: Sequence[str] = HUB_FILES) -> Path:
    """The directory of a checkpoint: local, or in the hub's cache. Raises SetupError."""
    remedy = "set `model` to a checkpoint's directory or hub id"
    return local_folder(wanted.model, remedy) or hub_folder(wanted, files)


def local_folder(name: str, remedy: str) -> Path | None:
    """The directory `name`; None if it is a hub id. Raises SetupError if it is neither."""
    if Path(name).is_dir():
        return Path(name)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise SetupError(
            f"{name!r} is neither an existing directory nor a hub id (owner/name)", remedy
        )
    return None


def hub_folder(wanted: HubCheckpoint, files: Sequence[str]) -> Path:
    """The cached directory of a hub id, with the files that match the patterns `files`.

    Raises SetupError.
    """
    try:
        return Path(
            snapshot_download(
                wanted.model,
                revision=wanted.revision,
                local_files_only=wanted.local_files_only,
                allow_patterns=list(files),
            )
        )
    except (OSError, ValueError) as error:  # the hub client raises only these two
        raise SetupError(
            f"cannot download {wanted.model!r} at revision {wanted.revision or 'main'}: "
            f"{type(error).__name__}: {error}",
            "check the name and revision; without access to the hub, download it elsewhere and "
            "set `model` to its directory",
        ) from error


def hub_revision(folder: Path) -> str:
    """The commit of a directory in the hub's cache; "" for other directories."""
    return folder.name if folder.parent.name == "snapshots" else ""


def digest(files: Iterable[Path]) -> str:
    """SHA-256 over the SHA-256 of each file, in order of file names."""
    total = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def provenance_of(name: str, folder: Path) -> dict[str, str]:
    """Entries for `run.json` of a transformers checkpoint; `name`: as in the config."""
    return {
        "model": name,
        "revision": hub_revision(folder),
        "weights_sha256": digest(folder.glob("*.safetensors")),
    }
