"""What true texts can be trusted for: their blanks, and the order of their lines.

The format decides; a file `truth.yaml` beside the truth files, or in a folder above them, overrides
it for all files in its folder and below. The nearest one counts, each key by itself.

| format | `blanks` | `order` |
|---|---|---|
| `x1,y1,...,x4,y4,text` (SROIE) | false | false |
| plain text, hOCR, reviewed rows | true | true |
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from actors.contract import Settings
from pipelines.config_files import read_yaml, validated

#: Name of the file with the overrides.
TRUST_FILE = "truth.yaml"


class Trust(Settings):
    """The keys of `truth.yaml`. None: as the format says."""

    blanks: bool | None = Field(
        None, description="Whether the texts have the blanks of their pages."
    )
    order: bool | None = Field(
        None, description="Whether the lines of each text are in reading order."
    )


def trust_in(folder: Path, root: Path) -> dict[str, bool]:
    """The keys that are set for truth files in `folder`, by it and the folders up to `root`.

    Raises ConfigError if a `truth.yaml` is no mapping, or has another key or no truth value.
    """
    found: dict[str, bool] = {}
    for above in [one for one in (folder, *folder.parents) if one.is_relative_to(root)][::-1]:
        path = above / TRUST_FILE
        if path.is_file():
            found |= validated(Trust, read_yaml(path), str(path)).model_dump(exclude_none=True)
    return found
