"""Reading a pickle of whole modules without running what it names.

An ultralytics checkpoint is a pickle of its model's objects. `torch.load(weights_only=True)` with
their classes allowed is not enough: a pickle may also call what it names, and some constructors do
what their arguments say. `DetectionModel` evaluates the `activation` of its config as Python (tried
with 8.4.190: a file that names no other class ran a shell command); `TorchVision` downloads. So
classes are sealed here: the file may restore objects of them, as every honest file does, and
construct none.
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

#: Where layers live. Not all of `ultralytics.nn`: `AutoBackend` and the text models load files.
LAYERS = ("torch.nn.modules", "ultralytics.nn.modules", "ultralytics.nn.tasks")

#: Names of older versions.
RENAMED = {
    "ultralytics.nn.modules.block.Silence": "torch.nn.modules.linear.Identity",
    "ultralytics.nn.tasks.YOLOv10DetectionModel": "ultralytics.nn.tasks.DetectionModel",
}

#: What checkpoints carry along from their training and no forward reads.
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
    """Stands in for an object that no forward reads; forgets what it is given."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


class Sealed(type):
    """The type of classes of which a pickle may restore objects, but construct none."""

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise pickle.UnpicklingError(f"it constructs a {cls.__name__} instead of restoring one")


def unsealed(model: nn.Module) -> nn.Module:
    """The same model, its modules of their real classes again."""
    module: Any
    for module in model.modules():
        if isinstance(type(module), Sealed):
            module.__class__ = type(module).__base__
    return model


def restored(path: Path) -> Any:
    """What `torch.save` wrote to `path`, its modules sealed; on the CPU.

    Raises SetupError for a file that is damaged or names anything but layers, and runs none of it.
    """
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # ValueError, RuntimeError, EOFError, struct.error ...
        raise SetupError(
            f"{path} is no checkpoint of ultralytics 8: {type(error).__name__}: {error}",
            "fetch it anew; exported models (TorchScript, ONNX) and YOLOv5's are other formats: "
            "take the .pt file that ultralytics 8 trained",
        ) from error
    allowed: list[Any] = [(_stand_in(path, name), name) for name in sorted(named)]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise SetupError(
            f"{path} cannot be restored: {type(error).__name__}: {error}",
            "fetch the checkpoint anew, from whom you trust",
        ) from error


def _stand_in(path: Path, name: str) -> Any:
    """What the unpickler takes where the file says `name`."""
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
        f"{path} asks for {name}, which is no layer of torch or ultralytics; nothing of the file "
        f"was run{_hint(module, attribute)}",
        "take a checkpoint that ultralytics 8 saved of one of its own detection or segmentation "
        "models; if you trust this one, load it with ultralytics and save the bare model anew",
    )


def _layer(module: str, attribute: str) -> type[nn.Module] | None:
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None
    return found if isinstance(found, type) and issubclass(found, nn.Module) else None


def _hint(module: str, attribute: str) -> str:
    """For layers that this version of ultralytics no longer has, or has not yet."""
    if not module.startswith("ultralytics.nn."):
        return ""
    known = dir(importlib.import_module("ultralytics.nn.modules"))
    near = difflib.get_close_matches(attribute, known, 1)
    return f"; the installed version has {near[0]}" if near else ""


def _forward_of(owner: Any, name: str) -> Any:
    """`getattr`, for the `forward` of layers only: what fused and older models are saved with."""
    if name in ("forward", "forward_fuse"):
        if isinstance(owner, type) and issubclass(owner, nn.Module):
            return getattr(owner, name)
        if isinstance(owner, nn.Module):
            return getattr(type(owner), name).__get__(owner)
    raise pickle.UnpicklingError(f"it asks for the attribute {name!r} of a {type(owner).__name__}")
