"""The layout of a run directory, and the lock that allows one writing process.

run.json             resolved config, versions, sessions, totals
manifest/            the rows to process (pipelines.sources.manifest)
shards/              finished rows; a listed shard is complete and final
rejects/             a copy of the failed rows of each shard
superseded/          rows that failed and were owed again (pipelines.runs.retrying)
damaged/             files that could not be read (pipelines.runs.damaged)
reviewed/            answers of reviewers (pipelines.review.importing)
calibration/         output of `nightjar calibrate`
evaluation/          output of `nightjar evaluate`
report.html          output of `nightjar report`
error.log            traceback of the last exception that stopped the run
native.log           stderr of Ray's C++ code
staging/             shards that are written but not committed; emptied at the next start
.lock                the writing process (on a disk)
replacing            the shard whose rejects are being replaced (on a disk)
lease.json           the same in a bucket (pipelines.runs.lease)

`pipelines.runs.store` shows the differences between a disk and a bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.errors import RunNotFound
from pipelines.runs.bucket_store import BucketStore
from pipelines.runs.local_store import LocalStore
from pipelines.runs.store import Record, RunStore, move
from pipelines.storage.damage import record_of, unreadable
from pipelines.storage.objects import StorageSettings
from pipelines.storage.output_errors import output_error, output_errors
from pipelines.storage.paths import STORAGE_ENV, BucketPath, RunPath, run_path


def store_of(path: RunPath) -> RunStore:
    """The store for a run at `path`."""
    return BucketStore(path) if isinstance(path, BucketPath) else LocalStore(path)


def beside(path: RunPath) -> RunPath:
    """`path` if it is free, else the first free one of NAME-2, NAME-3, ..."""
    if not path.exists():
        return path
    number = 2
    while (candidate := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return run_path(candidate)


__all__ = ["RunDir", "output_error", "output_errors"]


class RunDir:
    """Paths and small files of one run."""

    def __init__(self, path: str | RunPath, storage: StorageSettings | None = None) -> None:
        """`storage`: access to the bucket; None: from NIGHTJAR_STORAGE and boto's default chain.

        Raises ConfigError unless the path is local or in a bucket.
        """
        self.path = run_path(path, storage)
        self._store = store_of(self.path)
        self.manifest = self.path / "manifest"
        self.shards = self.path / "shards"
        self.rejects = self.path / "rejects"
        self.superseded = self.path / "superseded"
        self.damaged = self.path / "damaged"
        self.reviewed = self.path / "reviewed"
        self.record = self.path / "run.json"
        self.error_log = self.path / "error.log"
        self.native_log = self.path / "native.log"

    @property
    def staging(self) -> RunPath:
        """Folder for uncommitted shards; in a bucket, each session has its own."""
        return self._store.staging

    def create(self) -> None:
        """Create the directories and empty `staging`. Raises OutputUnwritable."""
        self._store.create()

    def shard_files(self, part: str | None = None) -> list[RunPath]:
        """Committed shards of one manifest part, or of all, sorted by name."""
        return self._store.shard_files(part)

    def read_record(self) -> Record:
        """The content of run.json. Raises RunNotFound, RunDamaged, RunUnreadable."""
        if isinstance(self.path, BucketPath):
            self.path.reach()  # reports a wrong address at once
        try:
            text = self.record.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise RunNotFound(
                f"no run at {self.path}", "give the run_dir of a config that has been run"
            ) from None
        except OSError as error:
            raise unreadable(self.record, error) from error
        return record_of(self.record, text)

    def write_record(self, record: Record) -> None:
        """Replace run.json atomically."""
        self._store.change_record(lambda _: record)

    def change_record(self, change: Callable[[Record], Record]) -> None:
        """Replace run.json by `change(record)`; concurrent changes are not lost."""
        self._store.change_record(lambda record: change(record or {}))

    def commit(self, name: str) -> None:
        """Make a staged shard visible, its rejects first. Raises OutputUnwritable, RunBusy."""
        self._store.commit(name)

    def replace(self, name: str) -> None:
        """A staged shard replaces the committed one of this name. Raises as `commit`."""
        self._store.replace(name)

    def drop(self, name: str) -> None:
        """Remove a shard and its rejects: its rows are owed again. Raises as `commit`."""
        self._store.drop(name)

    def set_aside(self, name: str) -> None:
        """Move a shard and its rejects to `damaged`: its rows are owed. Raises as `commit`."""
        self._store.set_aside(name)

    def set_record_aside(self) -> None:
        """Move run.json to `damaged`. Raises OutputUnwritable."""
        move(self.record, self.damaged, self.record.name)

    def sweep(self) -> None:
        """Complete or remove what a process that died has left. Raises OutputUnwritable."""
        self._store.sweep()

    def locked(self) -> AbstractContextManager[None]:
        """Lock the run for this process. Raises RunBusy, OutputUnwritable, RunConflict."""
        return self._store.locked()

    def beside(self) -> RunDir:
        """This directory if it is free, else the first free one of NAME-2, NAME-3, ..."""
        return RunDir(beside(self.path))

    def environment(self) -> dict[str, str]:
        """Environment variables that another process needs to open this run by its path."""
        if isinstance(self.path, BucketPath):
            return {STORAGE_ENV: self.path.settings.model_dump_json()}
        return {}

    @contextmanager
    def folder(self, name: str, *, keep: bool = True) -> Iterator[Path]:
        """The folder `name` of the run as a local folder; a copy if the run is in a bucket.

        Changes in a copy are uploaded if the block ends without an error and `keep` is true.
        """
        place = self.path / name
        if isinstance(place, Path):
            yield place
            return
        with TemporaryDirectory(prefix="nightjar-") as scratch:
            local = Path(scratch) / name
            before = place.download(local)
            yield local
            if keep:
                place.upload(local, before)
