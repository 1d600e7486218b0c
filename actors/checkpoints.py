"""Where a checkpoint's files are, what they hash to, and the device to run it on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download

from actors.contract import Device
from actors.failures import SetupError
from actors.heap import keep_freed_memory

#: What is fetched from a hub: no pickles and no code.
HUB_FILES = ["*.safetensors", "*.json", "*.txt"]


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


def pick_dtype(
    wanted: str, device: torch.device, on_gpu: str = "bfloat16", on_cpu: str = "float32"
) -> str:
    """Name of the dtype to compute in; auto: `on_gpu` on cuda, `on_cpu` elsewhere."""
    if wanted != "auto":
        return wanted
    return on_gpu if device.type == "cuda" else on_cpu


def best_on_cpu() -> str:
    """bfloat16 where this CPU multiplies it (AMX, AVX512_BF16), else float32.

    One thread of an EPYC with AVX512_BF16: an image takes grounding-dino-tiny 3.0 s instead of 7.5
    at 800 x 800 px, sam2.1-hiera-tiny 1.5 instead of 3.7, SAM 3 18 instead of 55.
    """
    known = torch.cpu.get_capabilities()
    return "bfloat16" if known.get("amx_bf16") or known.get("avx512_bf16") else "float32"


def whole_model(
    model: Any, name: str, folder: Path, dtype: torch.dtype = torch.float32, **options: Any
) -> Any:
    """`model.from_pretrained(folder)`, from safetensors alone; `name` is for messages.

    Raises SetupError where weights are missing, and what the library raises.
    """
    loaded, report = model.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **options
    )
    missing = sorted(report["missing_keys"])
    if missing:  # the library would go on with random weights in their place
        raise SetupError(
            f"{name!r} lacks {len(missing)} weights, {missing[0]} first",
            "fetch the checkpoint anew",
        )
    return loaded


def checkpoint_folder(name: str, revision: str | None, local_files_only: bool) -> Path:
    """The directory of a checkpoint: `name` itself, or the hub id `name` at `revision`, cached.

    Raises SetupError.
    """
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
                name,
                revision=revision,
                local_files_only=local_files_only,
                allow_patterns=HUB_FILES,
            )
        )
    except (OSError, ValueError) as error:  # all of the hub client's errors are one of the two
        raise SetupError(
            f"cannot get {name!r} at revision {revision or 'main'}: "
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
