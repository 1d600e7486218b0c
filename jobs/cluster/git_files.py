"""Files that git tracks below a folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pipelines.errors import ConfigError

_WAIT_S = 60


def tracked_files(root: Path) -> list[str] | None:
    """Names below `root`, in POSIX form; None without git or outside of a repository.

    Raises ConfigError if git refuses to answer, as for the repository of another user.
    """
    return _listed(root, "--cached")


def untracked_files(root: Path) -> list[str]:
    """Names of the files that git neither tracks nor ignores. Raises ConfigError."""
    return _listed(root, "--others", "--exclude-standard") or []


def _listed(root: Path, *which: str) -> list[str] | None:
    argv = ["git", "-C", str(root), "ls-files", "-z", *which]
    plain = os.environ | {"LC_ALL": "C"}
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_WAIT_S, env=plain)
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired as error:
        raise _no_answer(root, f"no answer within {_WAIT_S} s") from error
    told = done.stderr.decode(errors="replace").strip()
    if done.returncode and "not a git repository" in told:
        return None
    if done.returncode:
        raise _no_answer(root, told.partition("\n")[0])
    return [name for name in done.stdout.decode(errors="surrogateescape").split("\0") if name]


def _no_answer(root: Path, why: str) -> ConfigError:
    return ConfigError(
        f"git does not say which files of {root} it tracks: {why}", "make git ls-files work there"
    )
