"""Manifest rows in; an image, native text or a named failure out."""

from __future__ import annotations

import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from bad_files import (
    PASSWORD,
    climbing_zip,
    encrypted_pdf,
    good_page,
    huge_png,
    pdf_with_text,
    truncated_jpeg,
    zero_bytes,
)
from hand_written_pdf import PdfPage, shown, written_pdf

from actors.failures import FailureKind, ItemFailure, SetupError
from pipelines.engine.workers.worker import checked
from pipelines.pages.fetch import FetchConfig, PageFetcher
from pipelines.pages.page import RenderOptions
from pipelines.pages.read_ahead import Document, ReadAhead
from pipelines.pages.render import count_pages
from pipelines.pages.sandbox import SandboxLimits
from pipelines.storage.client import Storage


def rows(*pages: tuple[str | Path, int], planned_pages: int | None = None) -> pa.Table:
    """Manifest rows of (uri, page), with the version that is there now."""
    storage = Storage()
    entries = [(storage.stat(str(uri)), page) for uri, page in pages]
    return pa.table(
        {
            "row_id": pa.array(range(len(entries)), pa.int64()),
            "uri": [entry.uri for entry, _ in entries],
            "page": pa.array([page for _, page in entries], pa.int32()),
            "pages": pa.array([planned_pages or counted(e.uri) for e, _ in entries], pa.int32()),
            "etag": [entry.etag for entry, _ in entries],
            "bytes": pa.array([entry.bytes for entry, _ in entries], pa.int64()),
            "kind": ["" for _ in entries],
        }
    )


def counted(uri: str) -> int:
    """Pages as the plan counts them: 1 for what cannot be opened."""
    try:
        data = Storage().read(uri, max_bytes=1 << 30)
        return count_pages(data, RenderOptions())
    except ItemFailure:
        return 1


def fetched(table: pa.Table, **config: Any) -> list[dict[str, Any]]:
    fetcher = PageFetcher(FetchConfig.model_validate(config))
    out = checked(fetcher, fetcher(table), table)
    assert "fetch" in fetcher.seconds
    return [dict(row) for row in out.to_pylist()]


def kind(row: dict[str, Any]) -> str | None:
    failure = row["fetch_failure"]
    return None if failure is None else failure["kind"]


def test_every_row_ends_with_an_image_or_text_or_a_named_failure(tmp_path: Path) -> None:
    born_digital = pdf_with_text(tmp_path, ["First page of the report", "Second page of it too"])
    archived = f"{climbing_zip(tmp_path)}!/../../evil.png"
    table = rows(
        (born_digital, 1),
        (good_page(tmp_path), 1),
        (truncated_jpeg(tmp_path), 1),
        (zero_bytes(tmp_path), 1),
        (huge_png(tmp_path), 1),
        (archived, 1),
        (born_digital, 2),
        (born_digital, 3),
        (encrypted_pdf(tmp_path), 1),
    )
    out = fetched(table)
    assert [kind(row) for row in out] == [
        *(None, None, "CORRUPT_IMAGE", "EMPTY_FILE", "TOO_MANY_PIXELS"),
        *(None, None, "PAGE_MISSING", "ENCRYPTED_PDF"),
    ]
    native, image = out[0], out[1]
    assert native["native_text"] == "First page of the report"
    assert native["native_reason"] == "accepted"
    assert native["native_lines"][0]["text"] == native["native_text"]
    assert native["image"] is None
    assert (native["width"], native["height"]) == (1653, 2339)
    assert image["image"] == (tmp_path / "good.png").read_bytes()
    assert image["native_reason"] is None
    assert out[6]["native_text"] == "Second page of it too"
    failed = out[2]
    assert {failed[c] for c in ("image", "width", "native_text", "native_lines")} == {None}


def test_the_config_reaches_the_renderer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = pdf_with_text(tmp_path, ["First page of the report"])
    (kept,) = fetched(rows((report, 1)), keep_image_for_native=True, dpi=72)
    assert kept["native_text"] is not None
    assert kept["image"] is not None
    assert (kept["width"], kept["height"]) == (595, 842)
    (read,) = fetched(rows((report, 1)), native_text={"enabled": False})
    assert read["native_text"] is None
    assert read["native_reason"] == "native text is switched off"
    monkeypatch.setenv("DEED_PASSWORD", PASSWORD)
    (opened,) = fetched(rows((encrypted_pdf(tmp_path), 1)), passwords_env=["DEED_PASSWORD"])
    assert kind(opened) is None


def test_a_password_that_is_not_there_stops_the_run() -> None:
    with pytest.raises(SetupError, match="NIGHTJAR_NO_SUCH_PASSWORD"):
        PageFetcher(FetchConfig(passwords_env=("NIGHTJAR_NO_SUCH_PASSWORD",)))


def test_objects_changed_since_the_plan_are_named(tmp_path: Path) -> None:
    gone, changed = good_page(tmp_path, name="gone.png"), good_page(tmp_path, name="changed.png")
    table = rows((gone, 1), (changed, 1))
    gone.unlink()
    good_page(tmp_path, "Another text altogether", name="changed.png")
    assert [kind(row) for row in fetched(table)] == ["OBJECT_MISSING", "OBJECT_CHANGED"]
    assert [kind(row) for row in fetched(table, check_version=False)] == ["OBJECT_MISSING", None]


def test_pages_that_the_plan_could_not_count_do_not_vanish(tmp_path: Path) -> None:
    """As when the password came after the plan: one row stands for a document of two pages."""
    table = rows(
        (pdf_with_text(tmp_path, ["The first page", "The second page"]), 1), planned_pages=1
    )
    (row,) = fetched(table)
    assert kind(row) == "OBJECT_CHANGED"
    assert "the document has 2 pages, the manifest 1; plan again" in row["fetch_failure"]["message"]


def test_an_archive_inside_an_archive_stays_shut(tmp_path: Path) -> None:
    """Even if its first member is a stored PDF, so that its first bytes look like one."""
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_STORED) as archive:
        archive.write(pdf_with_text(tmp_path, ["A page"]), "first.pdf")
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as archive:
        archive.write(inner, "inner.zip")
    table = rows((f"{outer}!/inner.zip", 1))
    table = table.set_column(table.schema.get_field_index("kind"), "kind", [["unknown"]])
    assert [kind(row) for row in fetched(table)] == ["UNSUPPORTED_KIND"]


@pytest.mark.parametrize(
    ("double", "expected"),
    [
        ("hangs", FailureKind.RENDER_TIMEOUT),
        ("crashes", FailureKind.RENDER_CRASH),
        ("eats_memory", FailureKind.OUT_OF_MEMORY),
    ],
)
def test_one_page_of_a_document_is_lost_and_no_other(
    double: str, expected: FailureKind, tmp_path: Path
) -> None:
    pdf, scan = tmp_path / "three.pdf", good_page(tmp_path)
    pdf.write_bytes(written_pdf([PdfPage(shown([f"This is page number {n}"])) for n in (1, 2, 3)]))
    out = fetched(
        rows((pdf, 1), (pdf, 2), (pdf, 3), (scan, 1)),
        renderer=f"doubles.{double}_on_page_2",
        limits=SandboxLimits(wall_s=2 if double == "hangs" else 30, memory_mb=400),
    )
    assert [kind(row) for row in out] == [None, expected, None, None]
    assert out[2]["native_text"] == "This is page number 3"


# --- reading ahead ---------------------------------------------------------------------------


class Shelf:
    """Documents of 100 bytes by name; remembers what was read. `together`: a read ends when so
    many are under way."""

    def __init__(self, together: int = 1) -> None:
        self.reads: Counter[str] = Counter()
        self._all_read = threading.Barrier(together, timeout=60)
        self._lock = threading.Lock()

    def read(self, document: Document) -> bytes:
        with self._lock:
            self.reads[document.uri] += 1
        self._all_read.wait()
        if document.uri == "missing":
            raise ItemFailure(FailureKind.OBJECT_MISSING, "gone")
        return document.uri.encode() * 100


def settled(shelf: Shelf, least: int) -> list[str]:
    """What was read, a moment after so many were."""
    while len(shelf.reads) < least:
        time.sleep(0.01)
    time.sleep(0.1)
    return sorted(shelf.reads)


def named(names: Iterable[str], size: int = 100 << 10) -> list[Document]:
    return [Document(name, "v1", size) for name in names]


def test_a_document_is_read_once_for_its_pages_in_a_row_and_across_batches() -> None:
    shelf = Shelf()
    ahead = ReadAhead(shelf.read, threads=2, budget=250 << 10)
    for batch in ("aab", "bbc", "ccc"):
        documents = named(batch)
        ahead.expect(documents)
        assert [ahead.get(d)[:1].decode() for d in documents] == list(batch)
    assert shelf.reads == {"a": 1, "b": 1, "c": 1}


def test_documents_are_read_side_by_side() -> None:
    ahead = ReadAhead(Shelf(together=8).read, threads=8, budget=10 << 20)
    documents = named("abcdefgh")
    ahead.expect(documents)
    for document in documents:
        ahead.get(document)


def test_reading_ahead_stays_within_its_budget() -> None:
    shelf = Shelf()
    ahead = ReadAhead(shelf.read, threads=8, budget=350 << 10)
    documents = named("abcdefgh")
    ahead.expect(documents)
    assert settled(shelf, 3) == ["a", "b", "c"]
    ahead.get(documents[0])
    assert settled(shelf, 3) == ["a", "b", "c"]  # a is in use
    ahead.get(documents[1])
    assert settled(shelf, 4) == ["a", "b", "c", "d"]
    for document in documents:
        ahead.get(document)
    assert max(shelf.reads.values()) <= 2


def test_a_document_above_the_budget_is_read_all_the_same() -> None:
    ahead = ReadAhead(Shelf().read, threads=2, budget=1)
    documents = named("ab", size=1 << 30)
    ahead.expect(documents)
    assert [ahead.get(d)[:1] for d in documents] == [b"a", b"b"]


def test_a_missing_document_is_asked_for_once() -> None:
    shelf = Shelf()
    ahead = ReadAhead(shelf.read, threads=2, budget=1 << 20)
    documents = named(["missing"] * 300, size=0)
    ahead.expect(documents)
    for document in documents:
        with pytest.raises(ItemFailure, match="OBJECT_MISSING"):
            ahead.get(document)
    assert shelf.reads == {"missing": 1}
