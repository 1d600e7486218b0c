"""The settings that all models of a hub share. Light: the driver reads them to check a config."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from actors.contract import Device, Dtype, Settings


class HubCheckpoint(Settings):
    """Which checkpoint of a hub, or which directory."""

    model: str = Field(description="a checkpoint's directory, or its id on the hub (owner/name)")
    revision: str | None = Field(None, description="commit, tag or branch on the hub; null: main")
    local_files_only: bool = Field(False, description="never ask the hub, take what is cached")


class HubModel(HubCheckpoint):
    """A checkpoint, and where it runs. A model that takes fewer dtypes overrides `dtype`."""

    operational: ClassVar[frozenset[str]] = frozenset({"local_files_only", "device"})

    device: Device = "auto"
    dtype: Dtype = Field("auto", description="auto: bfloat16 on cuda, float32 on cpu")
