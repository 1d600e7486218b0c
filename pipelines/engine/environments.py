"""Environments of engines that cannot share ours: where they are, and what Ray is told of them.

An environment is a virtual environment built from `infra/engines/NAME.lock` with the Python and the
Ray of the driver (`make engines`). A pool names it; Ray then starts the pool's workers with its
python. The second way, `uv`, has Ray build it when the pool starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actors.contract import Pool
from pipelines.errors import ConfigError

VARIABLE = "NIGHTJAR_VENVS"

#: One heap for all threads of a worker. glibc gives each thread one that holds no block above
#: 64 MB; Ray has 20 before a model is there, and Ray Data calls it in one more. Forwards of a
#: full-size detector and segmenter fetched 65,000 pages a second from the kernel there, for a tenth
#: of the time: `actors/heap.py` comes too late for these threads.
_ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}

_REPOSITORY = Path(__file__).resolve().parents[2]


def folders(variables: Mapping[str, str] = os.environ) -> list[Path]:
    """Where environments are looked for, in this order."""
    named = variables.get(VARIABLE)
    if named:
        return [Path(one) for one in named.split(os.pathsep) if one]
    return [_REPOSITORY / ".venvs", Path("/opt/venvs")]


def find(name: str) -> Path | None:
    """The python of the environment `name`, or None."""
    found = (folder.absolute() / name / "bin" / "python" for folder in folders())
    return next((python for python in found if python.exists()), None)


def locked(lock: Path) -> list[str]:
    """The requirements in a lock. Raises ConfigError."""
    try:
        lines = lock.read_text().splitlines()
    except OSError as error:
        raise ConfigError(f"no lock {lock}: {error}", "see infra/engines") from None
    return [line for line in lines if line and not line.startswith("#")]


def runtime_env(pool: Pool) -> dict[str, Any]:
    """Ray's `runtime_env` of a pool. Raises ConfigError."""
    return _python(pool) | ({} if pool.num_gpus else {"env_vars": dict(_ONE_HEAP)})


def _python(pool: Pool) -> dict[str, Any]:
    if pool.uv:
        # Its own options would be --no-cache, and whatever the packages ask for beside the lock.
        options = {"uv_pip_install_options": ["--no-deps"], "uv_check": False}
        return {"uv": {"packages": locked(Path(pool.uv)), **options}}
    if pool.environment is None:
        return {"py_executable": pool.py_executable} if pool.py_executable else {}
    python = find(pool.environment)
    if python is None:
        raise ConfigError(
            f"no environment {pool.environment} in {', '.join(map(str, folders()))}",
            f"make engines, or name the folder that holds it in {VARIABLE}",
        )
    return {"py_executable": str(python)}
