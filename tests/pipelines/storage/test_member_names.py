"""Names of members in any encoding: stated, guessed from all of them, or set in the config."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from conftest import REPOSITORY

from pipelines.storage.archives.code_pages import guessed
from pipelines.storage.archives.member_names import decoded
from pipelines.storage.client import Storage, StorageSettings

CASES = REPOSITORY.parent / "shared/cases/documents"
UTF8 = 0x800
PAGE = b"page"

#: What programs of each code page call files: alone and together they are found.
NAMES = {
    "cp932": [
        "請求書/令和六年.jpg",
        "写真.jpg",
        "テスト.pdf",
        "ﾃｽﾄ.pdf",
        "議事録\uff08最終\uff09.pdf",
        "表.jpg",
    ],
    "gb18030": ["发票/2024年.pdf", "报告.pdf", "合同_张伟.pdf", "图片/照片1.jpg", "身份证.jpg"],
    "cp949": ["견적서.pdf", "사진/가족.jpg", "보고서_최종.pdf", "새 폴더/영수증.png", "서울.jpg"],
    "cp950": ["發票.pdf", "報告書.pdf", "新增資料夾/照片.jpg", "會議記錄.pdf"],
    "cp866": ["Отчёт.pdf", "Документы/Паспорт.jpg", "договор.pdf", "ДОГОВОР.pdf"],
    "cp1251": ["Отчёт.pdf", "Счёт-фактура 2024.pdf", "Скан.jpg", "Приказ № 5.pdf"],
    "cp437": ["Müller.pdf", "Übersicht Gebäude.pdf", "résumé.pdf", "Straße.pdf", "Año.pdf"],
    "cp850": ["Ángel.pdf", "Öl.pdf", "Água.pdf"],
    "cp1252": ["Müller.pdf", "résumé.pdf", "garçon.jpg", "São Paulo.pdf", "Ångström.pdf"],
    "cp1250": ["Příloha.pdf", "číslo.pdf", "Šestá žádost.pdf"],
}


def zipped(path: Path, *names: tuple[bytes, int, bytes]) -> Path:
    """A zip of one page under these names: bytes, flags, extra field of the directory."""
    local, central = bytearray(), bytearray()
    for name, flags, extra in names:
        at, crc = len(local), zlib.crc32(PAGE)
        local += struct.pack(
            "<IHHHHHIIIHH", 0x04034B50, 20, flags, 0, 0, 0x21, crc, 4, 4, len(name), 0
        )
        local += name + PAGE
        sizes = (crc, 4, 4, len(name), len(extra), 0, 0, 0, 0, at)
        central += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, flags, 0, 0, 0x21, *sizes)
        central += name + extra
    count = len(names)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(central), len(local), 0)
    path.write_bytes(bytes(local) + bytes(central) + end)
    return path


def unicode_field(old: bytes, new: str) -> bytes:
    """The Unicode extra field of Info-ZIP, with the checksum of the name that it was made for."""
    data = struct.pack("<BL", 1, zlib.crc32(old)) + new.encode()
    return struct.pack("<HH", 0x7075, len(data)) + data


def members(path: Path, **settings: str) -> list[str]:
    archive = Storage(StorageSettings(**settings)).open_archive(str(path))
    names = [member.name for member in archive.members()]
    assert all(archive.read(name, 100) == PAGE for name in names)
    return names


@pytest.mark.parametrize(
    ("codec", "names"),
    [(c, [n]) for c, names in NAMES.items() for n in names] + list(NAMES.items()),
    ids=str,
)
def test_code_pages_are_found_from_one_name_and_from_all(codec: str, names: list[str]) -> None:
    assert decoded([name.encode(codec) for name in names], "auto") == names


def test_the_names_of_a_zip_are_judged_together(tmp_path: Path) -> None:
    names = ["a.pdf", "ｽ.pdf", "請求書/見積書.pdf", "写真.jpg"]
    path = zipped(tmp_path / "x.zip", *((name.encode("cp932"), 0, b"") for name in names))
    assert members(path) == names


def test_flag_then_unicode_field_then_utf8_then_a_guess(tmp_path: Path) -> None:
    old = "請求書.pdf".encode("cp932")
    path = zipped(
        tmp_path / "x.zip",
        ("Ärger.pdf".encode(), UTF8, b""),
        (b"name.pdf", 0, unicode_field(b"name.pdf", "other.pdf")),  # ASCII needs no field
        (b"\x81\x82.pdf", 0, unicode_field(b"\x81\x82.pdf", "Ωμέγα.pdf")),
        (b"\x90\xbf.pdf", 0, unicode_field(b"renamed", "stale.pdf")),  # the checksum is another's
        ("macOS é.pdf".encode(), 0, b""),
        (old, 0, b""),
        (old + b"2", UTF8, b""),  # the flag is wrong
        (b"plain.pdf\0hidden", 0, b""),
    )
    assert members(path) == [
        *("Ärger.pdf", "name.pdf", "Ωμέγα.pdf", "請.pdf", "macOS é.pdf"),
        *("請求書.pdf", "請求書.pdf2", "plain.pdf"),
    ]


def test_the_config_decides_and_planning_and_fetching_agree(tmp_path: Path) -> None:
    name = "Paweł.pdf"
    path = zipped(tmp_path / "x.zip", (name.encode("cp852"), 0, b""))
    assert members(path) == ["Paweê.pdf"]  # one letter could be either
    assert members(path, member_names="cp852") == [name]
    storage = Storage(StorageSettings(member_names="cp852"))
    assert storage.read(f"{path}!/{name}", max_bytes=100) == PAGE
    with pytest.raises(ValueError, match="no encoding that Python knows"):
        StorageSettings(member_names="shift-klingon")
    with pytest.raises(ValueError, match="no encoding that Python knows"):
        StorageSettings(member_names="base64")


def test_a_name_that_the_codec_cannot_decode_keeps_its_bytes(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", (b"a\x81\xff.pdf", 0, b""))
    assert members(path, member_names="ascii") == [r"a\x81\xff.pdf"]


def test_names_of_older_manifests_still_find_their_member(tmp_path: Path) -> None:
    raw = "写真.jpg".encode("cp932")
    path = zipped(tmp_path / "x.zip", (raw, 0, b""))
    assert Storage().read(f"{path}!/{raw.decode('cp437')}", max_bytes=100) == PAGE


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_tars(tmp_path: Path, kind: int) -> None:
    names = [
        "請求書.pdf",
        "写真/" + "長" * 60 + ".jpg" if kind != tarfile.USTAR_FORMAT else "写真.jpg",
    ]
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", encoding="cp932", format=kind) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(PAGE)
            archive.addfile(info, io.BytesIO(PAGE))
    assert members(path) == names


def test_no_name_fits_any_codec() -> None:
    assert guessed([]) == "cp437"


def test_many_names_take_no_time(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", PAGE)
    names = [f"写真{n}.jpg".encode("cp932") for n in range(20_000)]
    assert decoded(names, "auto")[-1] == "写真19999.jpg"


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
def test_case() -> None:
    archive = Storage().open_archive(str(CASES / "shiftjis.zip"))
    assert [member.name for member in archive.members()] == ["請求書/令和六年.jpg"]
