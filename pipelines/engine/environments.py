"""Isolated Python environments of engines, and the `runtime_env` that Ray gets for a pool.

`make engines` builds a virtual environment from `infra/engines/NAME.lock`, with the driver's Python
and Ray versions. A pool names it in `environment`, and Ray starts its workers with that Python.
With `uv` instead, Ray builds the environment when the pool starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actors.contract import Pool
from pipelines.errors import ConfigError

VARIABLE = "NIGHTJAR_VENVS"

#: One heap for all threads of a worker. By default glibc gives each thread its own heap, which
#: cannot hold blocks above 64 MB. A worker has 20 threads of Ray before a model loads, and one more
#: that calls the model. Its forward passes then fetched 65,000 pages a second from the kernel (10 %
#: of the time, full-size detector and segmenter). `actors/heap.py` runs too late for these threads.
_ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}

#: Ray 2.60 hides GPUs only from workers that asked for some. A model in any other worker would take
#: the first GPU, which belongs to others.
_NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}

_REPOSITORY = Path(__file__).resolve().parents[2]


def folders(variables: Mapping[str, str] = os.environ) -> list[Path]:
    """The folders that may hold environments, in search order."""
    named = variables.get(VARIABLE)
    if named:
        return [Path(one) for one in named.split(os.pathsep) if one]
    return [_REPOSITORY / ".venvs", Path("/opt/venvs")]


def find(name: str) -> Path | None:
    """The Python executable of the environment `name`, or None."""
    found = (folder.absolute() / name / "bin" / "python" for folder in folders())
    return next((python for python in found if python.exists()), None)


def locked(lock: Path) -> list[str]:
    """The requirements in a lock file. Raises ConfigError."""
    try:
        lines = lock.read_text().splitlines()
    except OSError as error:
        raise ConfigError(
            f"cannot read lock file {lock}: {error}", "infra/engines has the lock files"
        ) from None
    return [line for line in lines if line and not line.startswith("#")]


def runtime_env(pool: Pool) -> dict[str, Any]:
    """Ray's `runtime_env` for a pool. Raises ConfigError."""
    return _python(pool) | ({} if pool.gpus else {"env_vars": _ONE_HEAP | _NO_GPU})


def _python(pool: Pool) -> dict[str, Any]:
    if pool.uv:
        # Ray's defaults are --no-cache, and to install dependencies that the lock does not have.
        options = {"uv_pip_install_options": ["--no-deps"], "uv_check": False}
        return {"uv": {"packages": locked(Path(pool.uv)), **options}}
    if pool.environment is None:
        return {"py_executable": pool.py_executable} if pool.py_executable else {}
    python = find(pool.environment)
    if python is None:
        raise ConfigError(
            f"no environment {pool.environment} in {', '.join(map(str, folders()))}",
            f"run `make engines`, or set {VARIABLE} to the folder that holds it",
        )
    return {"py_executable": str(python)}
