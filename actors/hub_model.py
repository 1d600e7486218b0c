"""Settings shared by all hub checkpoints. No heavy imports: the driver reads them too."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from actors.contract import Device, Dtype, Settings


class HubCheckpoint(Settings):
    """A checkpoint on a hub or in a directory."""

    model: str = Field(description="a checkpoint's directory, or its id on the hub (owner/name)")
    revision: str | None = Field(None, description="commit, tag or branch on the hub; null: main")
    local_files_only: bool = Field(
        False, description="use only cached files; never contact the hub"
    )


class HubModel(HubCheckpoint):
    """A checkpoint with its device and dtype. Models with fewer dtypes override `dtype`."""

    operational: ClassVar[frozenset[str]] = frozenset({"local_files_only", "device"})

    device: Device = "auto"
    dtype: Dtype = Field("auto", description="auto: bfloat16 on cuda, float32 on cpu")
