"""What must hold when several processes want one run directory at the same time."""

from __future__ import annotations

import threading

from pipelines.errors import RunBusy
from pipelines.runs.directory import RunDir
from pipelines.runs.lease import Lease
from pipelines.storage.paths import BucketPath


def one_of_many_gets_it(path: BucketPath) -> None:
    """Four ask for the lease at `path` at once: one holds it, the others get RunBusy."""
    held, refused = [], []
    all_tried = threading.Barrier(4, timeout=30)

    def come() -> None:
        try:
            with Lease(path, 6.0) as lease:
                held.append(lease.session)
                all_tried.wait()
        except RunBusy as error:
            refused.append(error)
            all_tried.wait()

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, 3)


def all_writers_are_recorded(run: RunDir) -> None:
    """Eight append to run.json at once: none of them is lost."""
    run.write_record({"sessions": []})

    def add(number: int) -> None:
        mine = RunDir(run.path)
        mine.change_record(lambda record: {"sessions": [*record["sessions"], number]})

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.read_record()["sessions"]) == list(range(8))
