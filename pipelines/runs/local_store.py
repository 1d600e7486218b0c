"""A run directory on a local disk or a mount."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.compute as pc

from pipelines.errors import OutputUnwritable, RunBusy
from pipelines.runs.store import Record, _pattern, as_json, move
from pipelines.storage.damage import record_of
from pipelines.storage.local import replacing, sync_folder
from pipelines.storage.output_errors import output_errors
from pipelines.storage.paths import RunPath, listed, parquet, write_parquet, write_whole

#: Holds the name of a shard while it is replaced and its rejects are not yet those of its rows.
_UNFINISHED = "replacing"


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

    def replace(self, name: str) -> None:
        """If this process dies between shard and rejects, `sweep` makes the rejects again."""
        shard, rejects = self.path / "shards" / name, self.path / "rejects" / name
        staged, unfinished = self.staging / f"rejects-{name}", self.path / _UNFINISHED
        with output_errors(self.path):
            write_whole(unfinished, name.encode())
            written = shard.stat()  # the report reads from it when the rows were committed
            os.utime(self.staging / name, ns=(written.st_atime_ns, written.st_mtime_ns))
            (self.staging / name).replace(shard)
            sync_folder(shard.parent)
            if staged.exists():
                staged.replace(rejects)
            else:
                rejects.unlink(missing_ok=True)
            sync_folder(rejects.parent)
            unfinished.unlink()

    def drop(self, name: str) -> None:
        """If this process dies between shard and rejects, `sweep` removes the rejects."""
        with output_errors(self.path):
            for folder in (self.path / "shards", self.path / "rejects"):
                (folder / name).unlink(missing_ok=True)
                sync_folder(folder)

    def set_aside(self, name: str) -> None:
        with output_errors(self.path):
            if (self.path / "rejects" / name).exists():
                move(self.path / "rejects" / name, self.path / "damaged", f"rejects-{name}")
            move(self.path / "shards" / name, self.path / "damaged", name)

    def shard_files(self, part: str | None) -> list[RunPath]:
        return listed(self.path / "shards", _pattern(part))

    def sweep(self) -> None:
        """Complete the last `replace`, and remove rejects without a shard."""
        unfinished = self.path / _UNFINISHED
        if unfinished.exists():
            with output_errors(self.path):
                self._reject_again(unfinished.read_text())
                unfinished.unlink()
        for reject in (self.path / "rejects").glob("*.parquet"):
            if not (self.path / "shards" / reject.name).exists():
                reject.unlink()

    def change_record(self, change: Callable[[Record | None], Record]) -> None:
        record = self.path / "run.json"
        before = record_of(record, record.read_bytes()) if record.exists() else None
        with output_errors(self.path), replacing(record) as file:
            file.write(as_json(change(before)).encode())

    def _reject_again(self, name: str) -> None:
        """Write the rejects of a shard as they follow from the shard."""
        shard, rejects = self.path / "shards" / name, self.path / "rejects" / name
        rejects.unlink(missing_ok=True)
        rows = parquet(shard).read() if shard.is_file() else None
        if rows and pc.any(pc.equal(rows["outcome"], "failed")).as_py():
            rejected = rows.filter(pc.equal(rows["outcome"], "failed"))
            write_parquet(rejected, rejects, compression="zstd")
        sync_folder(rejects.parent)
