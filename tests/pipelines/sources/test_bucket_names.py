"""Keys that look like folders, and folders that look like files, in every store."""

from __future__ import annotations

from typing import Any

import pytest
from any_bucket import AnyBucket, on_every_store

from pipelines.sources.listing import Source, SourceConfig
from pipelines.storage.client import Storage

pytest_plugins = ["any_bucket"]


def listing(bucket: AnyBucket, path: str, **config: Any) -> Source:
    return Source(SourceConfig(path=f"{bucket.uri}/{path}", **config), Storage(bucket.settings))


@on_every_store
def test_an_empty_object_with_the_name_of_a_folder_hides_nothing(any_bucket: AnyBucket) -> None:
    any_bucket.put("scans", b"")
    inside = any_bucket.put("scans/a.pdf", b"abc")
    empty = any_bucket.put("scans/empty.pdf", b"")
    any_bucket.put("made/", b"")
    made = any_bucket.put("made/b.pdf", b"abc")
    for path in ("scans", "scans/"):
        assert [one.uri for one in listing(any_bucket, path)] == [inside, empty]
    assert [one.name for one in listing(any_bucket, "made")] == ["b.pdf"]
    assert [one.uri for one in listing(any_bucket, "scans/empty.pdf")] == [empty]
    whole = listing(any_bucket, "")
    assert [one.uri for one in whole] == [made, inside, empty]
    assert whole.skipped == {"marker of a folder": 1}
    assert list(listing(any_bucket, "", recursive=False)) == []


@pytest.mark.parametrize("path", ["", "b", "b/", "b/x", "b/x/", "b/**"])
def test_a_key_that_ends_in_a_slash_and_has_bytes_is_a_file(
    any_bucket: AnyBucket, path: str
) -> None:
    uri = any_bucket.put("b/x/", b"12345")
    any_bucket.put("b/", b"")
    (found,) = listing(any_bucket, path, include=("x",))
    assert (found.uri, found.bytes, found.name.rpartition("/")[2]) == (uri, 5, "x")
    assert Storage(any_bucket.settings).read(found.uri, max_bytes=100) == b"12345"
