"""Planning stops if too much of a source cannot be read for one cause; one file is a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from doubles.troubled_s3 import TroubledS3

from actors.failures import FailureKind
from pipelines.errors import SourceUnavailable, WorkerUnfit
from pipelines.pages.page import RenderOptions
from pipelines.pages.sandbox import Sandbox, SandboxLimits
from pipelines.sources.listing import SourceConfig
from pipelines.sources.manifest import ManifestSummary, freeze, load_summary, readable_uris
from pipelines.sources.unreadable import Unreadable
from pipelines.storage.client import Storage
from pipelines.storage.objects import StorageSettings

if TYPE_CHECKING:
    from s3_server import Bucket

pytest_plugins = ["s3_server"]

DENIED, ERROR = FailureKind.PERMISSION_DENIED, FailureKind.STORAGE_ERROR
MISSING, CORRUPT = FailureKind.OBJECT_MISSING, FailureKind.CORRUPT_ARCHIVE
#: Just enough of a PNG to have a kind.
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("faults", "stops"),
    [
        ([DENIED], True),
        ([DENIED] * 3 + [None], False),
        ([DENIED] * 5 + [None] * 15, True),
        ([None] * 16 + [DENIED] * 4, False),
        ([DENIED] * 150 + [None] * 850, False),
        ([DENIED] * 300 + [None] * 900, True),
        ([None] * 10_000 + [DENIED] * 2_000, False),
        ([ERROR] * 100 + [None], False),
        ([None] * 100_000 + [ERROR] * 101, True),
        ([MISSING] * 2, True),
        ([MISSING] * 900 + [None] * 100, False),
        ([CORRUPT] * 30, False),
    ],
)
def test_the_numbers_of_the_rule(faults: Sequence[FailureKind | None], stops: bool) -> None:
    def count() -> None:
        unreadable = Unreadable("s3://scans")
        for number, fault in enumerate(faults):
            unreadable.add(f"s3://scans/{number}", fault)
        unreadable.finish()

    if not stops:
        count()
        return
    with pytest.raises(SourceUnavailable, match=r"of [\d,]+ files cannot be read \(") as caught:
        count()
    assert caught.value.remedy.endswith(", then start the same command again")


def plan(source: str, into: Path, settings: StorageSettings) -> ManifestSummary:
    def sandbox() -> Sandbox:
        return Sandbox(RenderOptions(), SandboxLimits(), "doubles.nowhere")

    storage = Storage(settings)
    return freeze(SourceConfig(path=source), into, storage=storage, open_counter=sandbox)


def through(trouble: TroubledS3) -> StorageSettings:
    return StorageSettings(endpoint_url=trouble.url, addressing="path", max_attempts=1)


def test_a_bucket_that_may_be_listed_and_not_read_is_not_frozen(
    tmp_path: Path, bucket: Bucket, trouble: TroubledS3
) -> None:
    for number in range(30):
        bucket.put(f"scans/{number:02}.png", PNG)
    source, manifest = f"s3://{bucket.name}/scans/", tmp_path / "manifest"
    trouble.plan(f"GET /{bucket.name}/scans/", "denied", 1000)
    with pytest.raises(SourceUnavailable, match=r"30 of 30 files cannot be read \(PERM") as caught:
        plan(source, manifest, through(trouble))
    assert "give this user the right to read the files" in caught.value.remedy
    assert load_summary(manifest) is None
    assert plan(source, manifest, bucket.settings).files == 30, "the same command goes on"


def test_one_denied_object_among_others_is_a_row(
    tmp_path: Path, bucket: Bucket, trouble: TroubledS3
) -> None:
    for number in range(6):
        bucket.put(f"scans/{number:02}.png", PNG)
    trouble.plan(f"GET /{bucket.name}/scans/00.png", "denied", 99)
    summary = plan(f"s3://{bucket.name}/scans/", tmp_path / "manifest", through(trouble))
    assert (summary.files, summary.uncounted) == (6, {"PERMISSION_DENIED": 1})
    names = [uri.rpartition("/")[2] for uri in readable_uris(tmp_path / "manifest")]
    assert names == [f"{number:02}.png" for number in range(1, 6)]


def test_a_store_that_goes_down_while_planning_stops_it(
    tmp_path: Path, bucket: Bucket, trouble: TroubledS3
) -> None:
    """The files that it could not read would be failed rows, and its PDFs of one page each."""
    for number in range(30):
        bucket.put(f"scans/{number:02}.png", PNG)
    source, manifest = f"s3://{bucket.name}/scans/", tmp_path / "manifest"
    trouble.down_after(f"GET /{bucket.name}/scans/", 20)
    with pytest.raises(SourceUnavailable, match="has not answered for"):
        plan(source, manifest, through(trouble))
    assert load_summary(manifest) is None


def test_pages_that_cannot_be_counted_on_this_machine_stop_it(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.pdf").write_bytes(b"%PDF-1.7")
    with pytest.raises(WorkerUnfit, match=r"doubles\.nowhere does not start"):
        plan(str(tmp_path / "scans"), tmp_path / "manifest", StorageSettings())
