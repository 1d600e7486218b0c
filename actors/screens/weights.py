"""Where the files of an OmniParser are: a directory in its layout, or its repository on the hub."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import snapshot_download

from actors.failures import SetupError

#: By preference: the third detector is MIT, the older ones are ultralytics checkpoints (AGPL-3.0).
DETECTORS = (
    "icon_detect_v3/model.pt",
    "icon_detect/model.pt",
    "icon_detect_v1_5/model_v1_5.pt",
    "icon_detect/best.pt",
)
#: Its README renames the second to the first.
CAPTIONERS = ("icon_caption_florence", "icon_caption")

_COMMIT = re.compile(r"[0-9a-f]{40}")


def weights_folder(name: str, revision: str | None, local_files_only: bool) -> Path:
    """The directory `name`, or the hub id `name` at the commit `revision`, cached.

    A branch or tag is refused: detectors come as `.pt`, and a TorchScript file brings code that
    torch then runs. It must be a file that somebody has chosen. Raises SetupError.
    """
    if Path(name).is_dir():
        return Path(name)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise SetupError(
            f"no directory {name!r}, and it is no hub id (owner/name)",
            "set `model` to a directory that holds icon_detect/ and icon_caption/",
        )
    if revision is None or not _COMMIT.fullmatch(revision):
        raise SetupError(
            f"{name!r} on the hub holds code (TorchScript) or pickles, and revision "
            f"{revision!r} may change",
            "set `revision` to a commit (40 digits), or download the files and set `model` to "
            "their directory",
        )
    wanted = [*DETECTORS, *(f"{folder}/*" for folder in CAPTIONERS)]
    try:
        return Path(
            snapshot_download(
                name, revision=revision, local_files_only=local_files_only, allow_patterns=wanted
            )
        )
    except (OSError, ValueError) as error:  # all of the hub client's errors are one of the two
        raise SetupError(
            f"cannot get {name!r} at {revision}: {type(error).__name__}: {error}",
            "download it where a hub can be reached and set `model` to its directory",
        ) from error


def first_there(folder: Path, names: tuple[str, ...], what: str) -> Path:
    """The first of `names` in `folder` that exists. Raises SetupError."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise SetupError(
        f"{folder} holds no {what}: none of {', '.join(names)}",
        "fetch microsoft/OmniParser-v2.0 as its README says",
    )
