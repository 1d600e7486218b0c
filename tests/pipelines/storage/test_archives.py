"""Hostile and broken archives: limited and named; good members are still read."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_files import climbing_zip, corrupt_member_zip, corrupt_zip, truncated_tar_gz, zip_bomb

from actors.failures import FailureKind, ItemFailure
from pipelines.storage.archives.archive import Archive, is_archive
from pipelines.storage.client import Storage, StorageSettings

MB = 1 << 20
PAGE = bytes(range(256)) * 40


def opened(path: Path, **settings: int) -> Archive:
    return Storage(StorageSettings(**settings)).open_archive(str(path))


def failure_of(call: Callable[[], object]) -> ItemFailure:
    with pytest.raises(ItemFailure) as caught:
        call()
    return caught.value


def tar(path: Path, *members: tuple[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def with_declared_size(path: Path, size: int) -> Path:
    """Rewrite the unpacked size of the only member, in both headers of the zip."""
    data = bytearray(path.read_bytes())
    for mark, field in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(mark) + field
        data[at : at + 4] = struct.pack("<I", size)
    path.write_bytes(data)
    return path


def one_member_zip(path: Path, data: bytes, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("page.bmp", data)
    return path


def test_a_zip_bomb_is_refused_by_what_it_declares(tmp_path: Path) -> None:
    archive = opened(zip_bomb(tmp_path))
    for limit, reason in ((512 * MB, "the limit is"), (4096 * MB, "200 to 1")):
        fault = failure_of(lambda limit=limit: archive.read("page.bmp", limit))
        assert fault.kind == FailureKind.TOO_MANY_BYTES
        assert reason in fault.message
    assert archive.read_head("page.bmp", 16)[:2] == b"BM"  # enough to say what it is


def test_a_zip_bomb_that_lies_takes_no_memory(tmp_path: Path) -> None:
    """It declares 1,000 bytes and unpacks to 100 MB."""
    path = one_member_zip(tmp_path / "liar.zip", bytes(100 * MB))
    archive = opened(with_declared_size(path, 1000))
    tracemalloc.start()
    try:
        fault = failure_of(lambda: archive.read("page.bmp", 512 * MB))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert fault.kind == FailureKind.CORRUPT_ARCHIVE
    assert peak < 4 * MB


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_limit_are_refused(tmp_path: Path, method: int) -> None:
    archive = opened(one_member_zip(tmp_path / "x.zip", PAGE, method))
    for call in (archive.read, archive.read_head):
        fault = failure_of(lambda call=call: call("page.bmp", MB))
        assert fault.kind == FailureKind.UNSUPPORTED_KIND


def test_a_member_shorter_than_declared_is_corrupt(tmp_path: Path) -> None:
    path = with_declared_size(one_member_zip(tmp_path / "short.zip", PAGE), len(PAGE) + 1)
    fault = failure_of(lambda: opened(path).read("page.bmp", MB))
    assert fault.kind == FailureKind.CORRUPT_ARCHIVE


def test_an_encrypted_member_is_named(tmp_path: Path) -> None:
    data = bytearray(one_member_zip(tmp_path / "locked.zip", PAGE).read_bytes())
    for mark, field in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + field] |= 1
    (tmp_path / "locked.zip").write_bytes(data)
    fault = failure_of(lambda: opened(tmp_path / "locked.zip").read("page.bmp", MB))
    assert fault.kind == FailureKind.CORRUPT_ARCHIVE
    assert "encrypted" in fault.message


def test_broken_zips_are_named(tmp_path: Path) -> None:
    fault = failure_of(lambda: opened(corrupt_zip(tmp_path)))
    assert fault.kind == FailureKind.CORRUPT_ARCHIVE
    listed = opened(corrupt_member_zip(tmp_path))
    assert [member.name for member in listed.members()] == ["page.png"]
    fault = failure_of(lambda: listed.read("page.png", MB))
    assert fault.kind == FailureKind.CORRUPT_ARCHIVE
    (tmp_path / "empty.zip").touch()
    fault = failure_of(lambda: opened(tmp_path / "empty.zip"))
    assert fault.kind == FailureKind.EMPTY_FILE


def test_a_climbing_name_is_only_a_name(tmp_path: Path) -> None:
    archive = opened(climbing_zip(tmp_path))
    assert archive.read("../../evil.png", MB).startswith(b"\x89PNG")
    assert not list(tmp_path.parent.parent.glob("evil*"))


def test_the_last_of_equal_names_counts(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", ("a", b"old"), ("b", b"other"), ("a", b"new"))
    archive = opened(path)
    assert list(archive.members()) == [("a", 3), ("b", 5)]
    assert archive.read("a", MB) == b"new"
    assert archive.superseded == 1


def test_folders_links_and_devices_are_no_members(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (("d", tarfile.DIRTYPE), ("n", tarfile.CHRTYPE), ("s", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("page")
        info.size = len(PAGE)
        archive.addfile(info, io.BytesIO(PAGE))
        info = tarfile.TarInfo("hard link")
        info.type, info.linkname = tarfile.LNKTYPE, "page"
        archive.addfile(info)
    opened_tar = opened(path)
    assert list(opened_tar.members()) == [("page", len(PAGE)), ("hard link", len(PAGE))]
    assert opened_tar.read("hard link", MB) == PAGE
    assert opened_tar.damage is None


def test_names_of_a_tar_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("Müller.pdf")
        info.size = len(PAGE)
        archive.addfile(info, io.BytesIO(PAGE))
    archive_ = opened(path)
    (member,) = archive_.members()
    assert member.name == "Müller.pdf"
    assert archive_.read(member.name, MB) == PAGE
    assert archive_.read(r"M\xfcller.pdf", MB) == PAGE  # in manifests of before 2026-12


def test_a_cut_tar_gz_gives_what_is_whole(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar.gz", ("a", PAGE), ("b", PAGE * 50), ("c", PAGE), mode="w:gz")
    plain = gzip.decompress(path.read_bytes())
    at = plain.index(b"b\0") + 512 + len(PAGE)  # in the middle of the second member
    path.write_bytes(gzip.compress(plain[:at])[:-8])  # without its checksum
    archive = opened(path)
    assert archive.read("a", MB) == PAGE
    for name in ("b", "c"):
        fault = failure_of(lambda name=name: archive.read(name, MB))
        assert fault.kind == FailureKind.CORRUPT_ARCHIVE
    assert archive.damage
    assert opened(truncated_tar_gz(tmp_path)).damage


def test_an_overwritten_header_hides_nothing(tmp_path: Path) -> None:
    """tarfile ends its list without a word at a header that makes no sense."""
    path = tar(tmp_path / "x.tar", ("a", PAGE), ("b", PAGE))
    data = bytearray(path.read_bytes())
    at = data.index(b"b\0", 512)
    data[at : at + 512] = b"?" * 512
    path.write_bytes(data)
    archive = opened(path)
    assert [member.name for member in archive.members()] == ["a"]
    assert "no end mark" in (archive.damage or "")
    assert failure_of(lambda: archive.read("b", MB)).kind == FailureKind.CORRUPT_ARCHIVE


def header(name: str, size: bytes, kind: bytes = b"0") -> bytes:
    """A tar header with any size field, and the right checksum."""
    block = bytearray(512)
    block[: len(name)] = name.encode()
    block[100:108], block[108:116], block[116:124] = (b"0000644\0",) * 3
    block[124:136], block[136:148], block[156:157] = size, b"00000000000\0", kind
    block[257:265], block[148:156] = b"ustar\x0000", b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "hostile",
    [
        header("back", b"\xff" * 10 + b"\xf8\x00"),  # size -2,048: the list would go round for ever
        header("long", b"77777777777\0", b"L"),  # a name of 8 GB
        header("pax", b"%011o\0" % (2 * MB), b"x") + bytes(2 * MB),
    ],
    ids=["negative size", "huge name", "huge pax header"],
)
def test_a_hostile_tar_header_ends_the_list(tmp_path: Path, hostile: bytes) -> None:
    path = tar(tmp_path / "x.tar", ("a", PAGE))
    path.write_bytes(path.read_bytes()[: 512 + len(PAGE)] + hostile + bytes(1024))
    archive = opened(path)
    assert archive.damage
    assert archive.read("a", MB) == PAGE


def test_a_tar_gz_bomb_stops_at_the_limits(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar.gz"
    block = zlib.compressobj(9, zlib.DEFLATED, 31)
    with path.open("wb") as out:
        out.write(block.compress(header("zeros", b"%011o\0" % (150 * MB))))
        for _ in range(150):
            out.write(block.compress(bytes(MB)))
        out.write(block.flush())
    fault = failure_of(lambda: opened(path))
    assert fault.kind == FailureKind.TOO_MANY_BYTES
    assert "200 to 1" in fault.message
    fault = failure_of(lambda: opened(path, max_archive_bytes=20 * MB))
    assert fault.kind == FailureKind.TOO_MANY_BYTES
    assert "the limit is" in fault.message


def test_archives_by_content(tmp_path: Path) -> None:
    zipped = one_member_zip(tmp_path / "z", b"%PDF-1.4 ").read_bytes()
    tarred = tar(tmp_path / "t", ("a.pdf", b"%PDF-1.4 ")).read_bytes()
    for data in (zipped, tarred, gzip.compress(tarred), bytes(10240)):
        assert is_archive(data[:16384])
    for data in (b"%PDF-1.4", b"PK", b"\x89PNG\r\n\x1a\n" + bytes(600), b"\xff\xd8\xff" * 300, b""):
        assert not is_archive(data)


def zip_of_one_page(path: Path, members: int, apart: bool = False, told: int | None = None) -> Path:
    """A zip whose members all have the data of the first one, or data of their own.

    `told`: the number of members that the end of the zip claims.
    """
    page, local, central, starts = b"page", bytearray(), bytearray(), []
    crc = zlib.crc32(page)
    for number in range(members if apart else 1):
        starts.append(len(local))
        fields = (20, 0, 0, 0, 0x21, crc, len(page), len(page), 7, 0)
        local += struct.pack("<IHHHHHIIIHH", 0x04034B50, *fields) + b"%07d" % number + page
    for number in range(members):
        at = starts[number if apart else 0]
        sizes = (crc, len(page), len(page), 7, 0, 0, 0, 0, 0, at)
        central += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 0x21, *sizes)
        central += b"%07d" % number
    claimed = (members if told is None else told) & 0xFFFF
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, claimed, claimed, len(central), len(local), 0)
    path.write_bytes(bytes(local) + bytes(central) + end)
    return path


@pytest.mark.parametrize("told", [None, 1], ids=["an honest end", "an end that lies"])
def test_a_zip_with_too_many_members_is_refused_before_they_take_memory(
    tmp_path: Path, told: int | None
) -> None:
    path = zip_of_one_page(tmp_path / "many.zip", 60_000, told=told)
    tracemalloc.start()
    try:
        fault = failure_of(lambda: opened(path, max_archive_members=59_999))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert fault.kind == FailureKind.TOO_MANY_MEMBERS
    assert "the limit is 59,999 members (storage.max_archive_members)" in fault.message
    assert peak < 2 * path.stat().st_size, "zipfile would take 10 times the file"


def test_a_directory_that_is_too_large_for_its_members_is_not_even_read(tmp_path: Path) -> None:
    path = zip_of_one_page(tmp_path / "many.zip", 60_000)
    fault = failure_of(lambda: opened(path, max_archive_members=100))
    assert fault.kind == FailureKind.TOO_MANY_MEMBERS
    assert "a directory of 3,180,000 bytes" in fault.message


def test_members_that_share_their_data_are_a_bomb(tmp_path: Path) -> None:
    fault = failure_of(lambda: opened(zip_of_one_page(tmp_path / "bomb.zip", 1000)))
    assert fault.kind == FailureKind.CORRUPT_ARCHIVE
    assert "999 of 1,000 members overlap" in fault.message
    good = opened(zip_of_one_page(tmp_path / "good.zip", 1000, apart=True))
    assert len(list(good.members())) == 1000
    assert good.read("0000999", MB) == b"page"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_with_too_many_members_is_refused(tmp_path: Path, mode: str) -> None:
    path = tar(tmp_path / "x.tar", *((f"{n}.png", PAGE) for n in range(30)), mode=mode)
    assert len(list(opened(path, max_archive_members=30).members())) == 30
    fault = failure_of(lambda: opened(path, max_archive_members=29))
    assert fault.kind == FailureKind.TOO_MANY_MEMBERS
