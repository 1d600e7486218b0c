"""Files of a run that cannot be read are named; the next start moves them away and goes on."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from retry_driver import ROWS, commit, in_rejects, in_shards, made, retry

from pipelines.errors import RunDamaged, RunNotFound, RunUnreadable
from pipelines.review.importing import REVIEWED, reviewed_ids, reviewed_rows
from pipelines.runs.damaged import check, set_aside
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows, open_shard, totals
from pipelines.sources.manifest import MANIFEST, load_summary, read_part
from pipelines.storage.paths import RunPath, parquet, write_parquet, write_whole

if TYPE_CHECKING:
    from s3_server import Bucket

pytest_plugins = ["s3_server"]


def _parquet(**columns: list[object]) -> bytes:
    file = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), file)
    return file.getvalue().to_pybytes()


#: What a file can hold in place of a shard.
CONTENTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "torn": lambda whole: whole[: len(whole) // 2],
    "zeros at its end": lambda whole: whole[:-64] + bytes(64),
    "not Parquet": lambda whole: b"<html>no such page</html>" * 20,
    "of other columns": lambda whole: _parquet(name=["a"]),
    "ids as text": lambda whole: _parquet(row_id=["1"], outcome=["ocr"], reasons=[[]]),
}


@pytest.fixture(params=["disk", "bucket"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunDir:
    """A run with four shards, on a disk and in a bucket."""
    if request.param == "disk":
        return made(RunDir(tmp_path / "run"))
    bucket: Bucket = request.getfixturevalue("bucket")
    return made(RunDir(f"s3://{bucket.name}/night", bucket.settings))


@pytest.fixture
def local(tmp_path: Path) -> RunDir:
    return made(RunDir(tmp_path / "run"))


def readers(run: RunDir) -> Iterator[Callable[[], object]]:
    """What commands do with shards."""
    yield lambda: totals(run)
    yield lambda: [*iter_rows(run, ["row_id", "outcome"])]


@pytest.mark.parametrize("content", CONTENTS)
def test_a_damaged_shard_is_named(local: RunDir, content: str) -> None:
    path = local.shard_files()[1]
    write_whole(path, CONTENTS[content](path.read_bytes()))
    for read in readers(local):
        with pytest.raises(RunDamaged, match=f"{path.name} is damaged: ") as caught:
            read()
        assert "start the same nightjar run command again: it moves the file" in caught.value.remedy


def test_damaged_shards_are_moved_away_and_their_rows_are_owed(run: RunDir) -> None:
    first, second, third, fourth = run.shard_files()
    lost = [row_id for path in (first, third) for row_id in open_shard(path).read()["row_id"]]
    write_whole(first, b"")
    write_whole(third, CONTENTS["torn"](third.read_bytes()))
    again = RunDir(run.path)
    with again.locked():
        again.sweep()
        checked = check(again)
        assert checked.damaged == [first.name, third.name]
        assert checked.rows == {"part-00000": len(ROWS) - len(lost)}
        assert {path.name for path in again.shard_files()} == {second.name, fourth.name}
        redone = [row_id.as_py() for row_id in lost]
        commit(again, {row_id: ROWS[row_id] for row_id in redone})
    assert set_aside(again) == sorted([first.name, third.name])
    with again.locked():  # in a bucket: the listing agrees with the lease
        assert check(again).damaged == []
    assert sorted(row["row_id"] for row in in_shards(again)) == sorted(ROWS)
    assert in_rejects(again) == sorted(row_id for row_id, kind in ROWS.items() if kind)


def test_a_second_damaged_shard_of_a_name_does_not_replace_the_first(local: RunDir) -> None:
    for content in (b"one", b"two"):
        path = local.shard_files()[3]
        kinds = {row["row_id"]: ROWS[row["row_id"]] for row in open_shard(path).read().to_pylist()}
        write_whole(path, content)
        with local.locked():
            check(local)
            commit(local, kinds)
    first, second = set_aside(local)
    assert (local.damaged / second).read_bytes() == b"one"
    assert (local.damaged / first).read_bytes() == b"two"


def flip_a_bit(path: Path, column: str, place: float, bit: int = 0) -> None:
    """Flip a bit of a column's data; `place`: 0..1 of its bytes."""
    content, group = bytearray(path.read_bytes()), pq.ParquetFile(path).metadata.row_group(0)
    chunks = [group.column(number) for number in range(group.num_columns)]
    (chunk,) = [one for one in chunks if one.path_in_schema == column]
    first = chunk.dictionary_page_offset or chunk.data_page_offset
    content[first + int(place * (chunk.total_compressed_size - 1))] ^= 1 << bit
    path.write_bytes(content)


def test_a_flipped_bit_is_never_read_as_a_value(local: RunDir, tmp_path: Path) -> None:
    """Pages have checksums: without them four of five flipped bits were read as wrong values."""
    path, chance = local.shard_files()[0], random.Random(4)
    assert isinstance(path, Path)
    right = open_shard(path).read()
    shutil.copy(path, tmp_path / "whole")
    found = 0
    for _ in range(60):
        shutil.copy(tmp_path / "whole", path)
        column = chance.choice(["row_id", "uri", "outcome"])
        flip_a_bit(path, column, chance.random(), chance.randrange(8))
        try:
            assert open_shard(path).read().equals(right)
        except RunDamaged as error:
            found += 1
            remedy = error.remedy
    assert found > 30  # the others hit statistics in the headers of pages
    assert "start the same nightjar run command again with --check-shards" in remedy


def test_check_shards_finds_what_only_a_whole_read_finds(local: RunDir) -> None:
    path, other, *_ = local.shard_files()
    assert isinstance(path, Path)
    flip_a_bit(path, "uri", 1.0)
    write_whole(local.rejects / other.name, b"torn")
    rejected = in_rejects_of(local, path)
    with local.locked():
        assert check(local).damaged == []
        assert check(local, whole=True).damaged == [path.name]
    left = {row_id for row_id, kind in ROWS.items() if kind} - rejected
    assert in_rejects(local) == sorted(left)


def in_rejects_of(run: RunDir, shard: RunPath) -> set[int]:
    return {*parquet(run.rejects / shard.name).read()["row_id"].to_pylist()}


def test_what_the_system_does_not_give_away_is_not_called_damaged(local: RunDir) -> None:
    path = local.shard_files()[0]
    path.unlink()
    with pytest.raises(RunUnreadable, match="No such file") as caught:
        open_shard(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("content", [b"", b'{"job": "ocr_b', b"[1]", b"\xff\xfe", b"null"])
def test_a_torn_record_is_named(run: RunDir, content: bytes) -> None:
    write_whole(run.record, content)
    with pytest.raises(RunDamaged, match=r"run\.json is damaged: ") as caught:
        run.read_record()
    assert "writes a new one" in caught.value.remedy
    with run.locked():
        with pytest.raises(RunDamaged, match=r"run\.json is damaged: "):
            run.change_record(lambda record: record)
        run.set_record_aside()
        with pytest.raises(RunNotFound):
            run.read_record()
        run.write_record({"job": "ocr_backfill"})
    assert set_aside(run) == ["run.json"]


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "manifest"
    folder.mkdir()
    (folder / "_SUMMARY.json").write_text('{"schema_ver')
    part = folder / "part-00000.parquet"
    pq.write_table(MANIFEST.empty_table(), part)
    part.write_bytes(part.read_bytes()[:-9])
    for read in (lambda: load_summary(folder), lambda: read_part(part)):
        with pytest.raises(RunDamaged, match="is damaged: ") as caught:
            read()
        assert "if the run has no shards, delete the folder manifest" in caught.value.remedy
    part.unlink()
    with pytest.raises(RunUnreadable, match="No such file"):
        read_part(part)


@pytest.mark.parametrize("content", ["empty", "torn", "of other columns"])
def test_damaged_answers_of_reviewers_are_named(local: RunDir, content: str) -> None:
    path = local.reviewed / "review-1.parquet"
    write_parquet(REVIEWED.empty_table(), path)
    assert reviewed_ids(local).tolist() == []
    write_whole(path, CONTENTS[content](path.read_bytes()))
    for read in (reviewed_rows, reviewed_ids):
        with pytest.raises(RunDamaged, match=r"review-1\.parquet is damaged: ") as caught:
            read(local)
        assert "import its answers again" in caught.value.remedy


def test_a_reader_is_told_that_a_shard_was_replaced_meanwhile(bucket: Bucket) -> None:
    run = made(RunDir(f"s3://{bucket.name}/night", bucket.settings))
    listed = run.shard_files()
    retry(RunDir(run.path))
    with pytest.raises(RunUnreadable) as caught:
        [open_shard(path) for path in listed]
    assert "start the command again" in caught.value.remedy


def test_a_shard_that_only_rejects_name_is_none(local: RunDir) -> None:
    lost = local.shard_files()[0]
    rows = open_shard(lost).metadata.num_rows
    lost.unlink()
    with local.locked():
        local.sweep()
        assert check(local).rows == {"part-00000": len(ROWS) - rows}
    assert not (local.rejects / lost.name).exists()
