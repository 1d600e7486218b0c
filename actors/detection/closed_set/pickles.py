"""Loads a pickle of ultralytics modules without running code from it.

An ultralytics checkpoint is a pickle of the model's objects. `torch.load(weights_only=True)` with
these classes allowed is not safe, because a pickle can call constructors and some of them run code.
`DetectionModel` evaluates the `activation` of its config as Python: with 8.4.190 a file with no
other class ran a shell command. `TorchVision` downloads files. Here classes are sealed: a file can
restore their objects, as normal checkpoints do, but cannot call their constructors.
"""

from __future__ import annotations

import difflib
import importlib
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from actors.failures import SetupError

#: Modules with layers. Other parts of `ultralytics.nn` (`AutoBackend`, text models) load files.
LAYERS = ("torch.nn.modules", "ultralytics.nn.modules", "ultralytics.nn.tasks")

#: Names from older versions -> current names.
RENAMED = {
    "ultralytics.nn.modules.block.Silence": "torch.nn.modules.linear.Identity",
    "ultralytics.nn.tasks.YOLOv10DetectionModel": "ultralytics.nn.tasks.DetectionModel",
}

#: Training objects in checkpoints that no forward reads.
LEFTOVERS = {
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
    "ultralytics.utils.IterableSimpleNamespace",
    "ultralytics.yolo.utils.IterableSimpleNamespace",
}
LEFTOVER_MODULES = {
    "ultralytics.utils.loss",
    "ultralytics.utils.tal",
    "ultralytics.yolo.utils.loss",
    "ultralytics.yolo.utils.tal",
}


class Leftover:
    """Placeholder for an object that no forward reads; ignores its arguments."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


class Sealed(type):
    """Metaclass of sealed classes: a pickle can restore their objects but not construct them."""

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise pickle.UnpicklingError(f"the file calls the constructor of {cls.__name__}")


def unsealed(model: nn.Module) -> nn.Module:
    """The same model, with the original classes of its modules."""
    module: Any
    for module in model.modules():
        if isinstance(type(module), Sealed):
            module.__class__ = type(module).__base__
    return model


def restored(path: Path) -> Any:
    """The content of a `torch.save` file on the CPU, with sealed modules.

    Raises SetupError for a damaged file, and for a file with other objects than layers. No code
    from the file runs.
    """
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # ValueError, RuntimeError, EOFError, struct.error ...
        raise SetupError(
            f"{path} is not a checkpoint of ultralytics 8: {type(error).__name__}: {error}",
            "download it again, or use the .pt file of an ultralytics 8 training; exported models "
            "(TorchScript, ONNX) and YOLOv5 checkpoints have other formats",
        ) from error
    allowed: list[Any] = [(_stand_in(path, name), name) for name in sorted(named)]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise SetupError(
            f"cannot load {path}: {type(error).__name__}: {error}",
            "download the checkpoint again, from a source that you trust",
        ) from error


def _stand_in(path: Path, name: str) -> Any:
    """The object that the unpickler uses for `name`. Raises SetupError for unknown names."""
    module, _, attribute = RENAMED.get(name, name).rpartition(".")
    if name in LEFTOVERS or module in LEFTOVER_MODULES:
        return Leftover
    if name == "builtins.getattr":
        return _forward_of
    if any(module == known or module.startswith(f"{known}.") for known in LAYERS):
        layer = _layer(module, attribute)
        if layer is not None:
            return Sealed(layer.__name__, (layer,), {"__module__": layer.__module__})
    raise SetupError(
        f"{path} uses {name}, which is not a layer of torch or ultralytics; no code from the file "
        f"was run{_hint(module, attribute)}",
        "use a detection or segmentation checkpoint saved by ultralytics 8; if you trust this one, "
        "load it with ultralytics and save only the model",
    )


def _layer(module: str, attribute: str) -> type[nn.Module] | None:
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None
    return found if isinstance(found, type) and issubclass(found, nn.Module) else None


def _hint(module: str, attribute: str) -> str:
    """A similar name, for layers that the installed version of ultralytics lacks."""
    if not module.startswith("ultralytics.nn."):
        return ""
    known = dir(importlib.import_module("ultralytics.nn.modules"))
    near = difflib.get_close_matches(attribute, known, 1)
    return f"; the installed version has {near[0]}" if near else ""


def _forward_of(owner: Any, name: str) -> Any:
    """`getattr` for the `forward` of layers only; fused and older models need it."""
    if name in ("forward", "forward_fuse"):
        if isinstance(owner, type) and issubclass(owner, nn.Module):
            return getattr(owner, name)
        if isinstance(owner, nn.Module):
            return getattr(type(owner), name).__get__(owner)
    raise pickle.UnpicklingError(
        f"the file reads the attribute {name!r} of a {type(owner).__name__}"
    )
