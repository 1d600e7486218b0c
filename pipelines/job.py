"""What a job is, and the table of those there are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.config import JobConfig
from pipelines.config_files import read_yaml, validated
from pipelines.errors import ConfigError
from pipelines.flow import Flow


@dataclass(frozen=True)
class Job:
    """A main job: its config model, its dataflow, and what one row of it is called."""

    name: str
    config: type[JobConfig]
    flow: Callable[[Any], Flow]
    unit: str  # "page" or "image"


#: job name -> module that holds its JOB; imported when needed, so that `nightjar --help` is quick.
MODULES = {"ocr_backfill": "pipelines.ocr_backfill", "autolabel": "pipelines.autolabel"}


def find_job(name: object) -> Job:
    """The job of this name, or ConfigError."""
    if name not in MODULES:
        raise ConfigError(f"job: {name!r} is none of {', '.join(MODULES)}")
    job: Job = importlib.import_module(MODULES[str(name)]).JOB
    return job


def load_job(path: Path, overrides: Sequence[str] = ()) -> tuple[Job, JobConfig]:
    """Read, override and validate a config file, and plan its flow. Raises ConfigError."""
    raw = read_yaml(path, overrides)
    job = find_job(raw.get("job"))
    config = validated(job.config, raw, str(path))
    job.flow(config)
    return job, config
