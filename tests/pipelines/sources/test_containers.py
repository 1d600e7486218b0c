"""Zips of other formats are one document with a name, and archives of files stay archives."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from bad_files import good_page

from pipelines.sources.inspection import Prober
from pipelines.sources.listing import Source, SourceConfig
from pipelines.storage.archives.containers import container_name, unopened
from pipelines.storage.client import Storage

TYPES = "[Content_Types].xml"
KINDS = {
    "Word (DOCX)": (TYPES, "_rels/.rels", "word/document.xml", "word/media/image1.png"),
    "Excel (XLSX)": ("xl/workbook.xml", "xl/media/image1.png", TYPES),
    "PowerPoint (PPTX)": (TYPES, "ppt/media/image1.png"),
    "EPUB": ("mimetype", "META-INF/container.xml", "OEBPS/cover.png"),
    "OpenDocument text (ODT)": (
        "mimetype",
        "content.xml",
        "Pictures/1.png",
        "META-INF/manifest.xml",
    ),
    "Java archive (JAR)": ("META-INF/MANIFEST.MF", "icons/a.png"),
    "Pages, Numbers or Keynote (iWork)": ("Index/Document.iwa", "preview.png"),
}
MIME = {
    "EPUB": "application/epub+zip",
    "OpenDocument text (ODT)": "application/vnd.oasis.opendocument.text",
}


def zipped(name: str, picture: bytes = b"picture") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for member in KINDS[name]:
            data = MIME[name].encode() if member == "mimetype" else picture
            archive.writestr(member, data)
    return file.getvalue()


def probed(folder: Path) -> list[tuple[str, str]]:
    """(name, kind) of each row of a plan over the folder."""

    def nothing() -> None:
        raise AssertionError("no page is counted")

    source = Source(SourceConfig(path=str(folder)), Storage())
    with Prober(source, Storage(), nothing) as prober:
        return [(one.listed.name, one.kind) for one in prober]


@pytest.mark.parametrize("name", KINDS)
def test_a_document_with_the_suffix_of_an_archive_is_one_row(tmp_path: Path, name: str) -> None:
    picture = good_page(tmp_path).read_bytes()
    (tmp_path / "in").mkdir()
    data = zipped(name, picture)
    for suffix in (".zip", ".bin"):
        (tmp_path / "in" / f"letter{suffix}").write_bytes(data)
    assert probed(tmp_path / "in") == [("letter.bin", "unknown"), ("letter.zip", "unknown")]
    for uri in ("/in/letter.docx", "/in/letter.zip", "/in/all.zip!/letter"):
        fault = unopened(uri, data)
        assert (fault.kind, fault.message) == ("UNSUPPORTED_KIND", f"{name} is not supported")


def test_an_archive_that_holds_documents_stays_an_archive(tmp_path: Path) -> None:
    """Also if a document in it, stored without compression, comes first."""
    picture = good_page(tmp_path).read_bytes()
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in/all.zip", "w") as archive:
        archive.writestr("letter.docx", zipped("Word (DOCX)"))
        archive.writestr("word/scan.png", picture)
        archive.writestr("META-INF/MANIFEST.MF", b"signed")
    assert probed(tmp_path / "in") == [
        ("all.zip!/letter.docx", "unknown"),
        ("all.zip!/word/scan.png", "png"),
        ("all.zip!/META-INF/MANIFEST.MF", "unknown"),
    ]


def test_other_archives_are_named_by_where_they_are() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", b"picture")
    assert "inside an archive" in unopened("/in/all.zip!/more.zip", file.getvalue()).message
    assert "name ends in .zip, .tar" in unopened("/in/scans.backup", file.getvalue()).message
    cut = zipped("Word (DOCX)")[:-30]  # without its directory
    assert unopened("/in/letter.docx", cut).message == "Word (DOCX) is not supported"
    assert container_name([]) is None
