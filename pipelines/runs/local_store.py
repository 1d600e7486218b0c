"""A run directory on a local disk or a mount."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import OutputUnwritable, RunBusy
from pipelines.runs.store import Record, _pattern, as_json
from pipelines.storage.local import replacing, sync_folder
from pipelines.storage.output_errors import output_errors
from pipelines.storage.paths import RunPath, listed


class LocalStore:
    """A run on a local or mounted disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.staging = path / "staging"

    def create(self) -> None:
        with output_errors(self.path):
            shutil.rmtree(self.staging, ignore_errors=True)
            for name in ("manifest", "shards", "rejects", "staging"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
            sync_folder(self.path)
            sync_folder(self.path.parent)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold a flock, which the kernel releases when the process ends for any reason."""
        with output_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = (self.path / ".lock").open("a+")
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise OutputUnwritable(
                        f"{self.path}: cannot lock the run directory: {error.strerror}",
                        "its file system has no file locks: mount it with locks (NFS: without "
                        "nolock), or set run_dir to a local folder or a bucket",
                    ) from error
                handle.seek(0)
                raise RunBusy(
                    f"{self.path} is being written by {handle.read().strip() or 'another process'}",
                    "wait for it, stop it, or start a new run directory with --new",
                ) from None
            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            handle.flush()
            yield

    def commit(self, name: str) -> None:
        with output_errors(self.path):
            if (self.staging / f"rejects-{name}").exists():
                (self.staging / f"rejects-{name}").replace(self.path / "rejects" / name)
                sync_folder(self.path / "rejects")
            (self.staging / name).replace(self.path / "shards" / name)
            sync_folder(self.path / "shards")

    def shard_files(self, part: str | None) -> list[RunPath]:
        return listed(self.path / "shards", _pattern(part))

    def sweep(self) -> None:
        """Remove rejects without a shard: the driver died between the two renames of a commit."""
        for reject in (self.path / "rejects").glob("*.parquet"):
            if not (self.path / "shards" / reject.name).exists():
                reject.unlink()

    def change_record(self, change: Callable[[Record | None], Record]) -> None:
        record = self.path / "run.json"
        before = json.loads(record.read_text()) if record.exists() else None
        with output_errors(self.path), replacing(record) as file:
            file.write(as_json(change(before)).encode())
