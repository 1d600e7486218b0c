"""Formats that are not read are called by their names."""

from __future__ import annotations

import io
import zipfile

import pytest

from pipelines.storage.known_names import brands, known_name


def ftyp(major: bytes, *others: bytes) -> bytes:
    body = b"ftyp" + major + b"\0\0\0\0" + b"".join(others)
    return (len(body) + 4).to_bytes(4, "big") + body + b"\0\0\0\x08mdat"


def zipped(*names: str, first: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, first if name == "mimetype" else "x" * 20)
    return file.getvalue()


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\xff\x0a\xfa\x7f", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (ftyp(b"heic", b"mif1", b"heic"), "HEIC"),
        (ftyp(b"mif1", b"mif1", b"heix"), "HEIC"),
        (ftyp(b"mif1", b"miaf", b"avif"), "AVIF"),
        (ftyp(b"mif1", b"miaf"), "HEIF"),
        (ftyp(b"crx ", b"isom"), "Camera raw (CR3)"),
        (ftyp(b"isom", b"avc1"), "MP4 video"),
        (b"II*\0\x10\0\0\0CR\x02\0", "Camera raw (CR2)"),
        (b"FUJIFILMCCD-RAW 0201", "Camera raw (RAF)"),
        (b"8BPS\0\x01" + bytes(6), "Photoshop (PSD)"),
        (b"AT&TFORM\0\0\x10\0DJVM", "DjVu"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript or EPS"),
        (b"\x01\0\0\0" + bytes(36) + b" EMF", "EMF"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI video"),
        (b"P5\n640 480\n255\n", "PBM, PGM, PPM, PAM or PFM"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="', "SVG"),
        (b"\n<!DOCTYPE html><html><body>404", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "A Git LFS pointer"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Old Microsoft Office"),
        (zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml"), "Word (DOCX)"),
        (zipped("_rels/.rels", "docProps/app.xml", "xl/workbook.xml"), "Excel (XLSX)"),
        (zipped("mimetype", "META-INF/x", first=b"application/epub+zip"), "EPUB"),
        (
            zipped("mimetype", "x", first=b"application/vnd.oasis.opendocument.text"),
            "OpenDocument text (ODT)",
        ),
    ],
)
def test_a_format_is_called_by_its_name(head: bytes, name: str) -> None:
    assert (known_name(head) or "").startswith(name)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\0" * 600,
        b"plain text",
        b"%PDF-1.7",
        b"\xff\xd8\xff\xe0",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"II*\0\x08\0\0\0",
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"<note>an xml file</note>",
        b"PNG is a format",
        zipped("scans/word/a.png"),
    ],
)
def test_others_have_no_name(head: bytes) -> None:
    assert known_name(head) is None


def test_brands_end_with_their_box() -> None:
    assert brands(ftyp(b"mif1", b"heic", b"miaf")) == {b"mif1", b"heic", b"miaf"}
    assert brands(b"\xff\xff\xff\xffftypmif1") == {b"mif1"}
    assert brands(b"no box") == frozenset()
