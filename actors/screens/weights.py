"""Finds OmniParser's files in a directory in its layout, or in its repository on the hub."""

from __future__ import annotations

import re
from pathlib import Path

from actors.checkpoints import hub_folder, local_folder
from actors.failures import SetupError
from actors.hub_model import HubCheckpoint

#: In order of preference: the third detector is MIT, the older ones are AGPL-3.0 (ultralytics).
DETECTORS = (
    "icon_detect_v3/model.pt",
    "icon_detect/model.pt",
    "icon_detect_v1_5/model_v1_5.pt",
    "icon_detect/best.pt",
)
#: OmniParser's README renames the second to the first.
CAPTIONERS = ("icon_caption_florence", "icon_caption")

_COMMIT = re.compile(r"[0-9a-f]{40}")


def weights_folder(wanted: HubCheckpoint) -> Path:
    """The directory of a checkpoint: local, or in the hub's cache at a pinned commit.

    Branches and tags can change, and `.pt` files contain code (TorchScript) or pickles. Raises
    SetupError for them.
    """
    remedy = "set `model` to a directory with icon_detect/ and icon_caption/"
    local = local_folder(wanted.model, remedy)
    if local is not None:
        return local
    if wanted.revision is None or not _COMMIT.fullmatch(wanted.revision):
        raise SetupError(
            f"{wanted.model!r} on the hub contains code (TorchScript) or pickles, so it needs a "
            f"pinned commit; revision {wanted.revision!r} can change",
            "set `revision` to a commit (40 digits), or download the files and set `model` to "
            "their directory",
        )
    return hub_folder(wanted, [*DETECTORS, *(f"{folder}/*" for folder in CAPTIONERS)])


def first_there(folder: Path, names: tuple[str, ...], what: str) -> Path:
    """The first of `names` in `folder` that exists. Raises SetupError."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise SetupError(
        f"{folder} has no {what}: none of {', '.join(names)} exists",
        "download microsoft/OmniParser-v2.0 as described in its README",
    )
