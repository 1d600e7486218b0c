"""Zips that are documents of other formats: a Word document is no archive of the pictures in it."""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import ExitStack

from actors.failures import FailureKind, ItemFailure
from pipelines.storage.archives.archive import ZipArchive, is_zip
from pipelines.storage.known_names import HEAD_BYTES, known_name
from pipelines.storage.objects import ARCHIVE_SUFFIXES, split_member

_MOST_MEMBERS = 100_000
#: A member that the format prescribes, a folder that it has beside it, and the format's name.
_OFFICE = (
    ("[Content_Types].xml", "word/", "Word (DOCX)"),
    ("[Content_Types].xml", "xl/", "Excel (XLSX)"),
    ("[Content_Types].xml", "ppt/", "PowerPoint (PPTX)"),
    ("[Content_Types].xml", "visio/", "Visio (VSDX)"),
    ("[Content_Types].xml", "3D/", "3D Manufacturing Format (3MF)"),
    ("[Content_Types].xml", "Documents/1/", "XPS"),
    ("[Content_Types].xml", "", "Office Open XML or another package (OPC)"),
    ("META-INF/container.xml", "", "EPUB"),
    ("META-INF/manifest.xml", "", "OpenDocument (ODF)"),
    ("Index/Document.iwa", "", "Pages, Numbers or Keynote (iWork)"),
    ("AndroidManifest.xml", "", "Android package (APK)"),
)


def container_name(names: Iterable[str]) -> str | None:
    """The name of the format whose zip has these members; None for an archive of files."""
    all_names = list(names)
    there = set(all_names)
    for prescribed, folder, name in _OFFICE:
        if prescribed in there and any(one.startswith(folder) for one in all_names):
            return name
    has_classes = any(one.endswith(".class") for one in all_names)
    if "META-INF/MANIFEST.MF" in there and (all_names[0].startswith("META-INF/") or has_classes):
        return "Java archive (JAR)"
    return None


def unopened(uri: str, data: bytes) -> ItemFailure:
    """The failure of an archive in place of a document. `data`: the whole file."""
    name = _name_of(uri, data)
    if name:
        return ItemFailure(FailureKind.UNSUPPORTED_KIND, f"{name} is not supported")
    if split_member(uri)[1] is not None:
        message = "an archive inside an archive is not opened"
    else:
        message = f"only archives whose name ends in {', '.join(ARCHIVE_SUFFIXES)} are opened"
    return ItemFailure(FailureKind.UNSUPPORTED_KIND, message)


def _name_of(uri: str, data: bytes) -> str | None:
    if not is_zip(data):
        return None
    try:
        archive = ZipArchive(uri, io.BytesIO(data), ExitStack(), _MOST_MEMBERS)
    except ItemFailure:  # damaged: its beginning may tell
        return known_name(data[:HEAD_BYTES])
    name = container_name(member.name for member in archive.members())
    # The type of an OpenDocument file or a book is in its first member.
    return (known_name(data[:HEAD_BYTES]) or name) if name else None
