"""A checkpoint's files and what they hash to, and the device and dtype to run it in."""

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

#: What is fetched from a hub: no pickles and no code.
HUB_FILES = ("*.safetensors", "*.json", "*.txt")
#: The same with chat templates, which `save_pretrained` writes to files of their own.
CHAT_FILES = (*HUB_FILES, "*.jinja")


@dataclass(frozen=True)
class Placement:
    """Where a model runs, and in which dtype."""

    device: torch.device
    dtype: torch.dtype

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def provenance(self, library: Any = None) -> dict[str, str]:
        """What `run.json` says of it, and of the engine if that is a `library` over torch."""
        name = torch.cuda.get_device_name() if self.on_gpu else "cpu"
        said = {"device": name, "dtype": str(self.dtype).removeprefix("torch.")}
        if library is None:
            return said
        versions = f"{library.__name__} {library.__version__}, torch {torch.__version__}"
        return said | {"engine": versions}


@contextmanager
def load_faults(what: str, folder: Path, remedy: str) -> Iterator[None]:
    """Turns what libraries raise about the files in `folder` into a SetupError."""
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
    """The device and dtype of a config; dtype auto: `on_gpu` on cuda, `on_cpu` elsewhere.

    Raises SetupError: see `pick_device`.
    """
    found = pick_device(device)
    if dtype == "auto":
        dtype = on_gpu if found.type == "cuda" else on_cpu
    return Placement(found, getattr(torch, dtype))


def pick_device(wanted: Device) -> torch.device:
    """The device to run on; for a CPU, this process also keeps the memory that forwards free.

    Raises SetupError where the wanted one is not there.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    elif wanted == "cuda" and not torch.cuda.is_available():
        raise SetupError(
            "the config asks for device cuda, and this worker sees no CUDA device",
            "give the pool num_gpus, or set device: cpu",
        )
    if wanted == "cpu":
        keep_freed_memory()
    return torch.device(wanted)


def best_on_cpu() -> str:
    """bfloat16 where this CPU multiplies it (AMX, AVX512_BF16), else float32.

    One thread of an EPYC with AVX512_BF16: an image takes grounding-dino-tiny 3.0 s instead of 7.5
    at 800 x 800 px, sam2.1-hiera-tiny 1.5 instead of 3.7, SAM 3 18 instead of 55.
    """
    known = torch.cpu.get_capabilities()
    return "bfloat16" if known.get("amx_bf16") or known.get("avx512_bf16") else "float32"


def checkpoint_folder(wanted: HubCheckpoint, files: Sequence[str] = HUB_FILES) -> Path:
    """The directory of a checkpoint, its own or one in the hub's cache. Raises SetupError."""
    remedy = "set `model` to a checkpoint's directory or its hub id"
    return local_folder(wanted.model, remedy) or hub_folder(wanted, files)


def local_folder(name: str, remedy: str) -> Path | None:
    """The directory `name`; None if it is a hub id. Raises SetupError if it is neither."""
    if Path(name).is_dir():
        return Path(name)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise SetupError(f"no directory {name!r}, and it is no hub id (owner/name)", remedy)
    return None


def hub_folder(wanted: HubCheckpoint, files: Sequence[str]) -> Path:
    """The cached directory of a hub id, with what matches the patterns `files`.

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
    except (OSError, ValueError) as error:  # all of the hub client's errors are one of the two
        raise SetupError(
            f"cannot get {wanted.model!r} at revision {wanted.revision or 'main'}: "
            f"{type(error).__name__}: {error}",
            "download it where a hub can be reached and set `model` to its directory, or check "
            "its name and revision",
        ) from error


def hub_revision(folder: Path) -> str:
    """The commit of a directory in the hub's cache, "" for any other."""
    return folder.name if folder.parent.name == "snapshots" else ""


def digest(files: Iterable[Path]) -> str:
    """SHA-256 over the SHA-256 of each file, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def provenance_of(name: str, folder: Path) -> dict[str, str]:
    """What `run.json` says of a checkpoint in transformers' layout; `name`: as in the config."""
    return {
        "model": name,
        "revision": hub_revision(folder),
        "weights_sha256": digest(folder.glob("*.safetensors")),
    }
