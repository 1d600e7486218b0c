"""Names of file formats that Nightjar does not read, by their first bytes.

A file of an unread kind fails with the name of its format: "JPEG XL is not supported" helps, "no
image" does not. Signatures are those of the formats' specifications.
"""

from __future__ import annotations

import re

#: Bytes that suffice for every format here. Fewer may hide an office format.
HEAD_BYTES = 4096

#: Signatures at the start of a file.
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"\x97JB2\r\n\x1a\n", "JBIG2"),
    (b"8BPS\0\x01", "Photoshop (PSD)"),
    (b"8BPS\0\x02", "Photoshop (PSB)"),
    (b"gimp xcf", "GIMP (XCF)"),
    (b"AT&TFORM", "DjVu"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"%!PS", "PostScript or EPS"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\x01\0\x09\0\0\x03", "WMF"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"qoif", "QOI"),
    (b"DDS ", "DDS"),
    (b"\x59\xa6\x6a\x95", "Sun raster"),
    (b"BPG\xfb", "BPG"),
    (b"FLIF", "FLIF"),
    (b"SIMPLE  =", "FITS"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"CDF\x01", "NetCDF"),
    (b"CDF\x02", "NetCDF"),
    (b"NRRD", "NRRD"),
    (b"PAR1", "Parquet"),
    (b"{\\rtf", "RTF"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Old Microsoft Office (DOC, XLS, PPT or MSG)"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!\x1a\x07", "RAR"),
    (b"\x1aE\xdf\xa3", "Matroska or WebM video"),
    (b"version https://git-lfs", "A Git LFS pointer (the file itself was not downloaded)"),
    # camera raw files that are no TIFF, or a TIFF with a number of their own
    (b"II*\0\x10\0\0\0CR", "Camera raw (CR2)"),
    (b"II\x1a\0\0\0HEAPCCDR", "Camera raw (CRW)"),
    (b"FUJIFILMCCD-RAW", "Camera raw (RAF)"),
    (b"IIRO", "Camera raw (ORF)"),
    (b"IIRS", "Camera raw (ORF)"),
    (b"MMOR", "Camera raw (ORF)"),
    (b"IIU\0", "Camera raw (RW2)"),
    (b"FOVb", "Camera raw (X3F)"),
    (b"\0MRM", "Camera raw (MRW)"),
)

#: Signatures at another place: offset, bytes.
_ELSEWHERE: tuple[tuple[int, bytes, str], ...] = (
    (40, b" EMF", "EMF"),
    (128, b"DICM", "DICOM"),
    (344, b"n+1\0", "NIfTI"),
    (344, b"ni1\0", "NIfTI"),
)

#: Brands of files in the ISO base media format (a box `ftyp`), tried in this order.
_BRANDS: tuple[tuple[tuple[bytes, ...], str], ...] = (
    ((b"avif", b"avis"), "AVIF"),
    ((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "HEIC"),
    ((b"crx ",), "Camera raw (CR3)"),
    ((b"mif1", b"msf1", b"mif2"), "HEIF"),
    ((b"qt  ",), "QuickTime video"),
    ((b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"M4V ", b"3gp4", b"3gp5"), "MP4 video"),
)

_JPEG_2000 = {b"jpm ": "JPEG 2000 compound (JPM)", b"mjp2": "Motion JPEG 2000"}
_RIFF = {b"AVI ": "AVI video", b"WAVE": "WAV audio"}

#: Types in the first member of an OpenDocument or EPUB file, which is stored without compression.
_MIME_TYPES = {
    b"epub+zip": "EPUB",
    b"vnd.oasis.opendocument.text": "OpenDocument text (ODT)",
    b"vnd.oasis.opendocument.spreadsheet": "OpenDocument spreadsheet (ODS)",
    b"vnd.oasis.opendocument.presentation": "OpenDocument presentation (ODP)",
    b"vnd.oasis.opendocument.graphics": "OpenDocument drawing (ODG)",
    b"x-krita": "Krita (KRA)",
    b"openraster": "OpenRaster (ORA)",
}
_OFFICE_FOLDERS = (
    (b"word/", "Word (DOCX)"),
    (b"xl/", "Excel (XLSX)"),
    (b"ppt/", "PowerPoint (PPTX)"),
    (b"visio/", "Visio (VSDX)"),
    (b"Documents/1/", "XPS"),
)
_NETPBM = re.compile(rb"P([1-7FfM])[ \t\r\n]")


def known_name(head: bytes) -> str | None:
    """The name of a file's format, e.g. `JPEG XL`; None for formats not known here.

    Args:
        head: the first bytes of the file, `HEAD_BYTES` if it has as many.

    A PDF, TIFF (other than camera raw), JPEG, PNG, WebP, BMP, GIF or JPEG 2000 has no name here,
    and neither has a zip archive that is no office document.
    """
    for start, name in _STARTS:
        if head.startswith(start):
            return name
    for offset, mark, name in _ELSEWHERE:
        if head[offset : offset + len(mark)] == mark:
            return name
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head.startswith(b"\0\0\0\x0cjP  "):
        return _JPEG_2000.get(head[20:24])
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12])
    if head.startswith(b"PK\x03\x04"):
        return _zipped(head)
    return _text(head)


def brands(head: bytes) -> frozenset[bytes]:
    """Major and compatible brands of a file in the ISO base media format; empty for others."""
    if head[4:8] != b"ftyp":
        return frozenset()
    size = min(int.from_bytes(head[:4], "big"), len(head))
    places = (8, *range(16, size - 3, 4))  # between them: the minor version
    return frozenset(head[at : at + 4] for at in places)


def _by_brand(head: bytes) -> str | None:
    major, all_brands = frozenset({head[8:12]}), brands(head)
    for found in (major, all_brands):
        for names, name in _BRANDS:
            # mif1 and msf1 say only "pictures": the compatible brands say of which kind.
            if found & frozenset(names) and not (found is major and name == "HEIF"):
                return name
    return None


def _zipped(head: bytes) -> str | None:
    """Office documents and books are zip archives."""
    size = int.from_bytes(head[26:28], "little")
    if head[30 : 30 + size] == b"mimetype":
        extra = int.from_bytes(head[28:30], "little")
        content = head[30 + size + extra :][:80]
        for kind, name in _MIME_TYPES.items():
            if content.removeprefix(b"application/").removeprefix(b"image/").startswith(kind):
                return name
    if b"[Content_Types].xml" in head or b"_rels/.rels" in head:
        for folder, name in _OFFICE_FOLDERS:
            if folder in head:
                return name
    return None


def _text(head: bytes) -> str | None:
    """Markup, and the text headers of the netpbm formats."""
    if _NETPBM.match(head):
        return "PBM, PGM, PPM, PAM or PFM"
    text = head[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<"):
        if b"<svg" in text:
            return "SVG"
        if text.startswith((b"<!doctype html", b"<html")):
            return "HTML"
    return None
