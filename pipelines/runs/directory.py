"""The layout of a run directory, and the lock that lets one process write to it.

run.json             provenance and summary, config as resolved
manifest/            the frozen plan (pipelines.sources.manifest)
shards/              finished rows; a shard that is listed here is whole and final
rejects/             the failed rows of each shard once more, for people who look for them
reviewed/            what people said about rows (pipelines.review.importing)
calibration/         what `nightjar calibrate` learned; evaluation/: what `nightjar evaluate` found
report.html          the run for people (pipelines.report)
error.log            the last exception that stopped the run, whole
native.log           what Ray's C++ side had to say on stderr
staging/             what a writer has not handed over yet; emptied at the next start
.lock                on a disk: who writes; lease.json in a bucket (pipelines.runs.lease)

On a disk or in a bucket: what differs is in `pipelines.runs.store`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.errors import RunNotFound
from pipelines.runs.bucket_store import BucketStore
from pipelines.runs.local_store import LocalStore
from pipelines.runs.store import Record, RunStore
from pipelines.storage.objects import StorageSettings
from pipelines.storage.output_errors import output_error, output_errors
from pipelines.storage.paths import STORAGE_ENV, RunPath, S3Path, run_path


def store_of(path: RunPath) -> RunStore:
    """The store for a run at `path`."""
    return BucketStore(path) if isinstance(path, S3Path) else LocalStore(path)


def beside(path: RunPath) -> RunPath:
    """The first free one of NAME-2, NAME-3, ...; `path` itself if it is unused."""
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
        """`storage`: how a bucket is reached; None: as NIGHTJAR_STORAGE and boto's chain say.

        Raises ConfigError for a path that can hold no run.
        """
        self.path = run_path(path, storage)
        self._store = store_of(self.path)
        self.manifest = self.path / "manifest"
        self.shards = self.path / "shards"
        self.rejects = self.path / "rejects"
        self.reviewed = self.path / "reviewed"
        self.record = self.path / "run.json"
        self.error_log = self.path / "error.log"
        self.native_log = self.path / "native.log"

    @property
    def staging(self) -> RunPath:
        """Where writers put shards; in a bucket each holder of the run has its own."""
        return self._store.staging

    def create(self) -> None:
        """Make the directories and empty `staging`. Raises OutputUnwritable."""
        self._store.create()

    def shard_files(self, part: str | None = None) -> list[RunPath]:
        """Committed shards, of one manifest part or all, sorted."""
        return self._store.shard_files(part)

    def read_record(self) -> Record:
        """run.json, or RunNotFound."""
        if isinstance(self.path, S3Path):
            self.path.reach()  # a wrong address is said at once
        try:
            record: Record = json.loads(self.record.read_text())
        except FileNotFoundError:
            raise RunNotFound(
                f"no run at {self.path}", "give the run_dir of a config that was run"
            ) from None
        return record

    def write_record(self, record: Record) -> None:
        """Replace run.json, whole or not at all."""
        self._store.change_record(lambda _: record)

    def change_record(self, change: Callable[[Record], Record]) -> None:
        """Replace run.json by what `change` makes of it; nothing gets lost in between."""
        self._store.change_record(lambda record: change(record or {}))

    def commit(self, name: str) -> None:
        """Make a staged shard visible: its rejects first, so that they never lack."""
        self._store.commit(name)

    def drop_orphaned_rejects(self) -> None:
        """Remove rejects whose shard was never committed."""
        self._store.sweep()

    def locked(self) -> AbstractContextManager[None]:
        """Hold the run for this process. Raises RunBusy, OutputUnwritable, RunConflict."""
        return self._store.locked()

    def beside(self) -> RunDir:
        """The first free directory NAME-2, NAME-3, ... beside this one; itself if it is unused."""
        return RunDir(beside(self.path))

    def environment(self) -> dict[str, str]:
        """What another process has to find in its environment to reach this run by its path."""
        if isinstance(self.path, S3Path):
            return {STORAGE_ENV: self.path.settings.model_dump_json()}
        return {}

    @contextmanager
    def folder(self, name: str, *, keep: bool = True) -> Iterator[Path]:
        """A local folder for `name` of the run: the folder itself, or a copy of one in a bucket.

        What the block has written into a copy is put into the bucket when it ends well. `keep`:
        False where nothing of it is going to be written.
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
