"""Jobs, and how a config names one: a built-in name or an import path."""

from __future__ import annotations

import importlib
import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pipelines.config import JobConfig
from pipelines.config_files import read_yaml, validated
from pipelines.errors import ConfigError
from pipelines.flow import Flow


@dataclass(frozen=True)
class Job:
    """A job: its config model, its dataflow, and the noun for one row."""

    name: str
    config: type[JobConfig]
    flow: Callable[[Any], Flow]
    unit: str  # "page" or "image"


#: Job name -> module with its JOB. Imported when needed, to keep `nightjar --help` fast.
MODULES = {"ocr_backfill": "pipelines.ocr_backfill", "autolabel": "pipelines.autolabel"}

#: `package.module:NAME` or `package.module`. A bare word is a built-in name: a typo in one must not
#: import a module.
_IMPORT_PATH = re.compile(r"(?=.*[.:])([^\W\d]\w*(?:\.[^\W\d]\w*)*)(?::([^\W\d]\w*))?")


def find_job(name: object) -> Job:
    """The built-in job of this name, or the Job at this import path. Raises ConfigError.

    An import path is `package.module:NAME`; NAME defaults to JOB. Importing runs the module's code.
    """
    if str(name) in MODULES:
        built_in: Job = importlib.import_module(MODULES[str(name)]).JOB
        return built_in
    path = _IMPORT_PATH.fullmatch(str(name))
    if path is None:
        raise ConfigError(
            f"job: {name!r} is neither a built-in job ({', '.join(MODULES)}) nor an import path",
            "name your own job as package.module:JOB",
        )
    module, attribute = path[1], path[2] or "JOB"
    job = getattr(_imported(module), attribute, None)
    if not isinstance(job, Job):
        raise ConfigError(
            f"job: {module} has no {attribute} that is a pipelines.job.Job",
            f"add {attribute} = Job(name, config, flow, unit) to that module",
        )
    return job


def _imported(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{error.name}."
        if missing and f"{module}.".startswith(missing):
            raise ConfigError(
                f"job: there is no module {missing[:-1]}",
                "put its folder on PYTHONPATH, here and on every machine with workers",
            ) from None
        raise ConfigError(
            f"job: importing {module} failed\n{traceback.format_exc(limit=-3)}"
        ) from error


def load_job(path: Path, overrides: Sequence[str] = ()) -> tuple[Job, JobConfig]:
    """Read and validate a config file with overrides, and check its flow. Raises ConfigError."""
    raw = read_yaml(path, overrides)
    job = find_job(raw.get("job"))
    config = validated(job.config, raw, str(path))
    job.flow(config)
    return job, config
