"""From a source to a frozen manifest: every file has its rows, exactly once."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bad_files import (
    TEXT,
    corrupt_zip,
    drawn,
    encrypted_pdf,
    good_page,
    pdf_with_text,
    pdf_without_pages,
    text_named_jpg,
    truncated_pdf,
    truncated_tar_gz,
    zero_bytes,
    zip_bomb,
)

from actors.failures import ItemFailure
from pipelines.errors import OutputUnwritable, RunConflict, SourceUnavailable
from pipelines.pages.page import RenderOptions
from pipelines.pages.sandbox import Sandbox, SandboxLimits
from pipelines.sources.listing import SourceConfig
from pipelines.sources.manifest import (
    MANIFEST,
    ManifestSummary,
    SeenIds,
    freeze,
    iter_parts,
    load_summary,
    read_part,
    row_id,
)
from pipelines.storage.client import Storage, StorageSettings

if TYPE_CHECKING:
    from s3_server import Bucket

pytest_plugins = ["s3_server"]


def sandbox() -> Sandbox:
    return Sandbox(RenderOptions(), SandboxLimits())


class Plan:
    """A frozen manifest. `rows`: (uri below the source, page, pages, kind)."""

    def __init__(
        self,
        source: Path | str,
        into: Path,
        settings: StorageSettings | None = None,
        rows_per_part: int = 1000,
        **config: Any,
    ) -> None:
        self.storage = Storage(settings)
        self.summary: ManifestSummary = freeze(
            SourceConfig(path=str(source), **config),
            into,
            storage=self.storage,
            open_counter=sandbox,
            rows_per_part=rows_per_part,
        )
        self.parts = [read_part(path) for path in iter_parts(into)]
        self.table = pa.concat_tables(self.parts)
        self.rows = [
            (row["uri"].removeprefix(f"{source}/"), row["page"], row["pages"], row["kind"])
            for row in self.table.to_pylist()
        ]

    def failures(self) -> dict[str, str]:
        """What reading each row's object fails with."""
        found = {}
        for row in self.table.to_pylist():
            try:
                self.storage.read(row["uri"], max_bytes=1 << 29, etag=row["etag"])
            except ItemFailure as fault:
                found[Path(row["uri"]).name] = fault.kind.value
        return found


def tiff(path: Path, frames: int) -> Path:
    pages = [drawn(f"page {n}", (200, 100)) for n in range(frames)]
    pages[0].save(path, "TIFF", save_all=True, append_images=pages[1:])
    return path


def zipped(path: Path, **members: bytes) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return path.read_bytes()


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    return folder


def test_pages_of_every_kind(scans: Path, tmp_path: Path) -> None:
    pdf_with_text(scans, [TEXT] * 3, name="letter.pdf")
    (scans / "letter.pdf").rename(scans / "a letter #1!.pdf")  # names say nothing
    shutil.copy(scans / "a letter #1!.pdf", scans / "b.jpg")
    tiff(scans / "c", 2)
    for name in ("d.png", "e.webp", "f.bmp", "g.gif", "h.jpg"):
        good_page(scans, name=name)
    (scans / "i.pdf").write_bytes(b"\n" * 1000 + (scans / "b.jpg").read_bytes())  # junk before
    plan = Plan(scans, tmp_path / "manifest")
    pdf = [(name, page, 3, "pdf") for name in ("a letter #1!.pdf", "b.jpg") for page in (1, 2, 3)]
    assert plan.rows == [
        *pdf,
        ("c", 1, 2, "tiff"),
        ("c", 2, 2, "tiff"),
        ("d.png", 1, 1, "png"),
        ("e.webp", 1, 1, "webp"),
        ("f.bmp", 1, 1, "bmp"),
        ("g.gif", 1, 1, "gif"),
        ("h.jpg", 1, 1, "jpeg"),
        *[("i.pdf", page, 3, "pdf") for page in (1, 2, 3)],
    ]
    assert plan.failures() == {}
    summary = plan.summary
    assert (summary.files, summary.pages) == (9, 16)
    assert summary.bytes == sum(path.stat().st_size for path in scans.iterdir())
    assert summary.kinds == {
        "bmp": 1, "gif": 1, "jpeg": 1, "pdf": 3, "png": 1, "tiff": 1, "webp": 1
    }  # fmt: skip
    assert summary.uncounted == {}
    assert load_summary(tmp_path / "manifest") == summary


def test_bad_files_have_one_row_each(scans: Path, tmp_path: Path) -> None:
    for make in (truncated_pdf, encrypted_pdf, pdf_without_pages, text_named_jpg, zero_bytes):
        make(scans)
    (scans / "dangling.pdf").symlink_to("nowhere")
    plan = Plan(scans, tmp_path / "manifest")
    files = sorted(path.name for path in scans.iterdir())
    assert [(row[0], row[1], row[2]) for row in plan.rows] == [(name, 1, 1) for name in files]
    kinds = {row[0]: row[3] for row in plan.rows}
    assert kinds.pop("dangling.pdf") == kinds.pop(text_named_jpg(scans).name) == "unknown"
    assert kinds.pop(zero_bytes(scans).name) == "unknown"
    assert set(kinds.values()) == {"pdf"}
    assert plan.summary.uncounted == {
        "CORRUPT_PDF": 1, "ENCRYPTED_PDF": 1, "EMPTY_DOCUMENT": 1, "EMPTY_FILE": 1,
        "OBJECT_MISSING": 1,
    }  # fmt: skip


def test_files_that_are_no_documents_are_rejected_or_skipped(scans: Path, tmp_path: Path) -> None:
    good_page(scans)
    for name in ("notes.txt", "Thumbs.db", ".DS_Store", "sha256.sum"):
        (scans / name).write_text("no document")
    zero_bytes(scans)
    rejecting = Plan(scans, tmp_path / "a")
    assert rejecting.summary.kinds == {"png": 1, "unknown": 4}
    assert rejecting.summary.passed_over == {"hidden": 1}
    skipping = Plan(scans, tmp_path / "b", unknown="skip")
    assert skipping.summary.skipped == 3
    assert skipping.summary.kinds == {"png": 1, "unknown": 1}  # an empty scan may be a lost one


def test_archives(scans: Path, tmp_path: Path) -> None:
    png = good_page(tmp_path).read_bytes()
    inner = zipped(tmp_path / "inner.zip", a__png=png)
    pdf = pdf_with_text(tmp_path, [TEXT] * 2).read_bytes()
    zipped(scans / "a.zip", b__png=png, a__pdf=pdf, inner__zip=inner, _DS_Store=b"x")
    with tarfile.open(scans / "b.tar.gz", "w:gz") as archive:
        for name in ("./x/1.png", "../2.png", "./.hidden.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png)
            archive.addfile(info, io.BytesIO(png))
    (scans / "c.docx").write_bytes(inner)
    (scans / "d.zip").write_bytes(pdf)
    zipped(scans / "e.zip", first__pdf=pdf)  # stored: %PDF- is within the first 1,024 bytes
    plan = Plan(scans, tmp_path / "manifest")
    assert plan.rows == [
        ("a.zip!/b.png", 1, 1, "png"),
        ("a.zip!/a.pdf", 1, 2, "pdf"),
        ("a.zip!/a.pdf", 2, 2, "pdf"),
        ("a.zip!/inner.zip", 1, 1, "unknown"),
        ("a.zip!/_DS_Store", 1, 1, "unknown"),
        ("b.tar.gz!/./x/1.png", 1, 1, "png"),
        ("b.tar.gz!/../2.png", 1, 1, "png"),
        ("c.docx", 1, 1, "unknown"),
        ("d.zip", 1, 2, "pdf"),
        ("d.zip", 2, 2, "pdf"),
        ("e.zip!/first.pdf", 1, 2, "pdf"),
        ("e.zip!/first.pdf", 2, 2, "pdf"),
    ]
    assert plan.failures() == {}
    assert plan.summary.passed_over == {"hidden": 1}
    sizes = dict(zip(plan.table["uri"].to_pylist(), plan.table["bytes"].to_pylist(), strict=True))
    assert sizes[f"{scans}/a.zip!/b.png"] == len(png)
    closed = Plan(scans, tmp_path / "closed", archives=False)
    assert closed.summary.kinds == {"pdf": 1, "unknown": 4}


def test_globs_reach_into_archives(scans: Path, tmp_path: Path) -> None:
    png = good_page(scans).read_bytes()
    zipped(scans / "a.zip", b__png=png, c__jpg=png)
    uris = {
        glob: [row[0] for row in Plan(scans, tmp_path / name, include=[glob]).rows]
        for name, glob in (("1", "*.jpg"), ("2", "*.zip"), ("3", "a.zip!/b*"))
    }
    assert uris == {
        "*.jpg": ["a.zip!/c.jpg"],
        "*.zip": ["a.zip!/b.png", "a.zip!/c.jpg"],
        "a.zip!/b*": ["a.zip!/b.png"],
    }


def test_broken_archives_end_as_named_failures(scans: Path, tmp_path: Path) -> None:
    for make in (zip_bomb, corrupt_zip, truncated_tar_gz):
        make(scans)
    (scans / "text.zip").write_text("no zip at all")
    (scans / "zero.zip").touch()
    plan = Plan(scans, tmp_path / "manifest")
    assert plan.rows == [
        ("bomb.zip!/page.bmp", 1, 1, "bmp"),
        ("corrupt.zip!/", 1, 1, "archive"),
        ("text.zip!/", 1, 1, "archive"),
        ("truncated.tar.gz!/page.png", 1, 1, "png"),
        ("truncated.tar.gz!/", 1, 1, "archive"),
        ("zero.zip!/", 1, 1, "archive"),
    ]
    assert plan.failures() == {
        "page.bmp": "TOO_MANY_BYTES",
        "corrupt.zip!": "CORRUPT_ARCHIVE",
        "text.zip!": "CORRUPT_ARCHIVE",
        "page.png": "CORRUPT_ARCHIVE",
        "truncated.tar.gz!": "CORRUPT_ARCHIVE",
        "zero.zip!": "EMPTY_FILE",
    }


def test_a_file_deleted_or_changed_after_the_plan(scans: Path, tmp_path: Path) -> None:
    good_page(scans, name="gone.png")
    good_page(scans, name="new.png")
    plan = Plan(scans, tmp_path / "manifest")
    (scans / "gone.png").unlink()
    good_page(scans, "other words", name="new.png")
    assert plan.failures() == {"gone.png": "OBJECT_MISSING", "new.png": "OBJECT_CHANGED"}


def test_names_that_are_not_utf8(scans: Path, tmp_path: Path) -> None:
    good_page(scans, name=os.fsdecode(b"M\xfcller.png"))
    plan = Plan(scans, tmp_path / "manifest")
    assert plan.table["uri"].to_pylist() == [f"file://{scans}/M%FCller.png"]
    assert plan.failures() == {}


AS_NOBODY = """
import os, sys
from pathlib import Path
from pipelines.sources.manifest import freeze
from pipelines.sources.listing import SourceConfig
from pipelines.storage.client import Storage
storage = Storage()
os.setgid(65534); os.setuid(65534)
print(freeze(SourceConfig(path=sys.argv[1]), Path(sys.argv[2]), storage=storage, open_counter=list))
"""


def test_no_permission_is_a_row_and_not_silence() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become nobody; as another user, modes bind this test itself")
    with tempfile.TemporaryDirectory() as name:
        scans, out = Path(name) / "scans", Path(name) / "out"
        (scans / "locked").mkdir(parents=True)
        out.mkdir()
        for page in (scans / "good.png", scans / "locked/good.png", scans / "secret.png"):
            good_page(page.parent, name=page.name)
        Path(name).chmod(0o755)
        out.chmod(0o777)
        (scans / "locked").chmod(0)
        (scans / "secret.png").chmod(0)
        command = [sys.executable, "-c", AS_NOBODY, str(scans), str(out)]
        subprocess.run(command, check=True, capture_output=True)
        (table,) = map(read_part, iter_parts(out))
        summary = load_summary(out)
    assert summary
    assert summary.uncounted == {"PERMISSION_DENIED": 2}
    assert [Path(uri).name for uri in table["uri"].to_pylist()] == [
        "good.png",
        "locked",
        "secret.png",
    ]
    assert table["kind"].to_pylist() == ["png", "unknown", "unknown"]


def test_parts_are_the_waves(scans: Path, tmp_path: Path) -> None:
    for number in range(25):
        good_page(scans, name=f"{number:02}.png")
    pdf_with_text(scans, [TEXT] * 7, name="z.pdf")
    plan = Plan(scans, tmp_path / "manifest", rows_per_part=10)
    assert [part.num_rows for part in plan.parts] == [10, 10, 10, 2]
    assert all(part.schema.equals(MANIFEST) for part in plan.parts)
    assert plan.summary.parts == 4
    assert [path.stem for path in iter_parts(tmp_path / "manifest")] == [
        f"part-0000{n}" for n in range(4)
    ]
    ids = plan.table["row_id"].to_pylist()
    assert len(set(ids)) == 32
    for row in plan.table.to_pylist():
        assert row["row_id"] == row_id(row["uri"], row["etag"], row["page"])
    again = Plan(scans, tmp_path / "again")
    assert again.table["row_id"].to_pylist() == ids


def test_row_ids_are_pinned() -> None:
    """Other ids would make every unfinished run start over."""
    assert row_id("/scans/a.pdf", "10-20", 1) == 1619656402939533840
    assert (
        len({row_id("a", "b", 1), row_id("a", "b", 2), row_id("a", "", 1), row_id("ab", "", 1)})
        == 4
    )


def test_a_list_of_pages_with_repetitions(scans: Path, tmp_path: Path) -> None:
    pdf_with_text(scans, [TEXT] * 5, name="a.pdf")
    good_page(scans, name="b.png")
    lines = ["a.pdf,2", "a.pdf,9", "b.png,", "a.pdf,2", "./b.png,", "gone.pdf,3"]
    (scans / "list.csv").write_text("uri,page\n" + "\n".join(lines))
    plan = Plan(scans / "list.csv", tmp_path / "manifest")
    rows = [(Path(uri).name, page, pages, kind) for uri, page, pages, kind in plan.rows]
    assert rows == [
        ("a.pdf", 2, 5, "pdf"),
        ("a.pdf", 9, 5, "pdf"),  # reading it will say that there is no such page
        ("b.png", 1, 1, "png"),
        ("gone.pdf", 3, 1, "unknown"),
    ]
    summary = plan.summary
    assert (summary.files, summary.pages, summary.duplicates) == (3, 4, 2)
    assert summary.bytes == sum((scans / name).stat().st_size for name in ("a.pdf", "b.png"))
    assert summary.kinds == {"pdf": 1, "png": 1, "unknown": 1}


def test_ids_seen_before_are_found() -> None:
    random = np.random.default_rng(0)
    seen, known = SeenIds(), set()
    for _ in range(200):
        ids = random.integers(0, 5000, 50)
        expected = []
        for number in ids.tolist():
            expected.append(number not in known)
            known.add(number)
        assert seen.add(ids).tolist() == expected


def test_a_bucket_with_everything(bucket: Bucket, scans: Path, tmp_path: Path) -> None:
    pdf = pdf_with_text(scans, [TEXT] * 3).read_bytes()
    png = good_page(scans).read_bytes()
    for number in range(60):
        bucket.put(f"in/{number:03} #1.png", png)
    bucket.put("in/a.pdf", pdf)
    bucket.put("in/large.pdf", pdf + bytes(50_000))  # more than one look at its head
    bucket.put("in/b.zip", zipped(tmp_path / "b.zip", x__pdf=pdf, y__png=png))
    bucket.put("in/empty.pdf", b"")
    root = f"s3://{bucket.name}/in"
    plan = Plan(root, tmp_path / "manifest", bucket.settings)
    assert plan.rows[:60] == [(f"{n:03} #1.png", 1, 1, "png") for n in range(60)]
    assert plan.rows[60:] == [
        *[("a.pdf", page, 3, "pdf") for page in (1, 2, 3)],
        *[("b.zip!/x.pdf", page, 3, "pdf") for page in (1, 2, 3)],
        ("b.zip!/y.png", 1, 1, "png"),
        ("empty.pdf", 1, 1, "unknown"),
        *[("large.pdf", page, 3, "pdf") for page in (1, 2, 3)],
    ]
    assert plan.failures() == {"empty.pdf": "EMPTY_FILE"}


def test_nothing_to_read_stops_and_says_why(scans: Path, tmp_path: Path) -> None:
    (scans / ".hidden.pdf").touch()
    (scans / "notes.txt").write_text("text")
    with pytest.raises(SourceUnavailable, match="1 hidden, 1 no document") as caught:
        Plan(scans, tmp_path / "manifest", unknown="skip")
    assert "source.path" in caught.value.remedy
    assert load_summary(tmp_path / "manifest") is None


def test_an_unfinished_plan_counts_for_nothing(scans: Path, tmp_path: Path) -> None:
    good_page(scans)
    manifest = tmp_path / "manifest"
    manifest.mkdir()
    for name in ("part-00000.parquet", "part-00007.parquet", ".part-00008.parquet.12ab.tmp"):
        (manifest / name).write_bytes(b"left by a plan that was killed")
    (manifest / "mine.txt").touch()
    assert load_summary(manifest) is None
    plan = Plan(scans, manifest)
    assert plan.rows == [("good.png", 1, 1, "png")]
    assert sorted(path.name for path in manifest.iterdir()) == [
        "_SUMMARY.json", "mine.txt", "part-00000.parquet"
    ]  # fmt: skip


def test_frozen_is_frozen(scans: Path, tmp_path: Path) -> None:
    good_page(scans)
    manifest = tmp_path / "manifest"
    Plan(scans, manifest)
    with pytest.raises(RunConflict, match="already has a manifest"):
        Plan(scans, manifest)
    summary = json.loads((manifest / "_SUMMARY.json").read_text())
    (manifest / "_SUMMARY.json").write_text(json.dumps(summary | {"schema_version": 99}))
    with pytest.raises(RunConflict, match="schema 99"):
        load_summary(manifest)
    pq.write_table(pa.table({"a": [1]}), manifest / "part-00000.parquet")
    with pytest.raises(RunConflict, match="its columns are a"):
        read_part(manifest / "part-00000.parquet")
    (manifest / "part-00000.parquet").write_bytes(b"cut")
    with pytest.raises(RunConflict, match="part-00000"):
        read_part(manifest / "part-00000.parquet")


def test_progress_and_an_unwritable_directory(scans: Path, tmp_path: Path) -> None:
    good_page(scans)
    seen: list[tuple[int, int, int]] = []

    def record(files: int, pages: int, size: int) -> None:
        seen.append((files, pages, size))

    def plan(into: Path) -> None:
        freeze(
            SourceConfig(path=str(scans)),
            into,
            storage=Storage(),
            open_counter=sandbox,
            on_progress=record,
        )

    plan(tmp_path / "manifest")
    assert seen[0] == (1, 1, (scans / "good.png").stat().st_size)
    (tmp_path / "file").touch()
    with pytest.raises(OutputUnwritable, match="file/manifest"):
        plan(tmp_path / "file" / "manifest")


def test_an_outage_is_not_frozen(dead_endpoint: str, aws_credentials: None, tmp_path: Path) -> None:
    lines = "".join(f"s3://bucket/{number}.pdf\n" for number in range(200))
    (tmp_path / "list.csv").write_text("uri\n" + lines)
    settings = StorageSettings(endpoint_url=dead_endpoint, addressing="path", max_attempts=1)
    with pytest.raises(SourceUnavailable, match="has not answered for"):
        Plan(tmp_path / "list.csv", tmp_path / "manifest", settings)
    assert load_summary(tmp_path / "manifest") is None
