"""The layout of a run directory, and the lock that lets one process write to it.

run.json             provenance and summary, config as resolved
manifest/            the frozen plan (pipelines.manifest)
shards/              finished rows; a shard that is listed here is whole and final
rejects/             the failed rows of each shard once more, for people who look for them
reviewed/            what people said about rows (pipelines.review_import)
calibration/         what `nightjar calibrate` learned; evaluation/: what `nightjar evaluate` found
report.html          the run for people (pipelines.report)
error.log            the last exception that stopped the run, whole
native.log           what Ray's C++ side had to say on stderr
staging/             what a writer has not handed over yet; emptied at the next start
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import ConfigError, NightjarError, OutputUnwritable, RunBusy, RunNotFound


class RunDir:
    """Paths and small files of one run."""

    def __init__(self, path: str | Path) -> None:
        if "://" in str(path):
            raise ConfigError(
                f"run_dir {path}: only a local or mounted directory can hold a run",
                "set run_dir to a path; the source may be on s3://",
            )
        self.path = Path(path)
        self.manifest = self.path / "manifest"
        self.shards = self.path / "shards"
        self.rejects = self.path / "rejects"
        self.staging = self.path / "staging"
        self.reviewed = self.path / "reviewed"
        self.record = self.path / "run.json"
        self.error_log = self.path / "error.log"
        self.native_log = self.path / "native.log"

    def create(self) -> None:
        """Make the directories and empty `staging`. Raises OutputUnwritable."""
        with output_errors(self.path):
            shutil.rmtree(self.staging, ignore_errors=True)
            for folder in (self.manifest, self.shards, self.rejects, self.staging):
                folder.mkdir(parents=True, exist_ok=True)

    def shard_files(self, part: str | None = None) -> list[Path]:
        """Committed shards, of one manifest part or all, sorted."""
        return sorted(self.shards.glob(f"{part}-*.parquet" if part else "*.parquet"))

    def read_record(self) -> dict[str, Any]:
        """run.json, or RunNotFound."""
        try:
            record: dict[str, Any] = json.loads(self.record.read_text())
        except FileNotFoundError:
            raise RunNotFound(
                f"no run at {self.path}", "give the run_dir of a config that was run"
            ) from None
        return record

    def write_record(self, record: dict[str, Any]) -> None:
        """Replace run.json atomically."""
        temporary = self.record.with_suffix(".json.tmp")
        with output_errors(self.path):
            temporary.write_text(json.dumps(record, indent=2, sort_keys=False, default=str) + "\n")
            temporary.replace(self.record)

    def commit(self, name: str) -> None:
        """Make a staged shard visible: its rejects first, so that they never lack."""
        with output_errors(self.path):
            if (self.staging / f"rejects-{name}").exists():
                (self.staging / f"rejects-{name}").replace(self.rejects / name)
            (self.staging / name).replace(self.shards / name)

    def drop_orphaned_rejects(self) -> None:
        """Remove rejects whose shard was never committed: the driver died between two renames."""
        for reject in self.rejects.glob("*.parquet"):
            if not (self.shards / reject.name).exists():
                reject.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process; the kernel lets go of it however the process ends."""
        with output_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = (self.path / ".lock").open("a+")
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                handle.seek(0)
                raise RunBusy(
                    f"{self.path} is being written by {handle.read().strip() or 'another process'}",
                    "wait for it, stop it, or start beside it with --new",
                ) from None
            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            handle.flush()
            yield

    def beside(self) -> RunDir:
        """The first free directory NAME-2, NAME-3, ... beside this one; itself if it is unused."""
        if not self.path.exists():
            return self
        number = 2
        while (candidate := self.path.with_name(f"{self.path.name}-{number}")).exists():
            number += 1
        return RunDir(candidate)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of writing below `path` into OutputUnwritable with a remedy."""
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error


def output_error(path: Path, error: OSError) -> NightjarError:
    """The error to raise for `error` while writing below `path`."""
    remedies = {
        errno.ENOSPC: "free space or move run_dir; then start the same command again: "
        "what is committed is kept",
        errno.EDQUOT: "raise the quota or move run_dir; then start the same command again",
        errno.EACCES: "make run_dir writable for this user, or choose another",
        errno.EROFS: "run_dir is on a read-only file system; choose another",
        errno.ENOTDIR: "a file is where run_dir needs a directory; choose another",
        errno.EEXIST: "a file is where run_dir needs a directory; choose another",
    }
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = remedies.get(error.errno or 0, "check the file system of run_dir")
    return OutputUnwritable(f"cannot write to {path}: {reason}", remedy)
