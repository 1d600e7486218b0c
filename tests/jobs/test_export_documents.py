"""`nightjar export` of OCR runs as a process: killed and continued, dry runs, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
import pytest
from bad_files import SAMPLES
from conftest import Ended, nightjar_argv, write_config
from ocr_documents import line, ocr_run, pages_of, read_page, sample, unread
from rich.console import Console
from s3_server import Bucket

from jobs.commands import export
from pipelines.runs.directory import RunDir
from pipelines.storage.client import Storage
from pipelines.storage.paths import STORAGE_ENV

pytest_plugins = ["s3_server"]

Run = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A letter that was read, and a locked deed that was not."""
    letter = sample(tmp_path / "scans", "letter_donation.png")
    deed = sample(tmp_path / "scans", "sealed_deed.pdf")
    pages = pages_of(1, letter, [[line("Dear [Sir]", (100, 100, 500, 140))]])
    pages.append(unread(read_page(2, deed, []), "ENCRYPTED_PDF", "no password given"))
    return ocr_run(tmp_path / "run", tmp_path / "scans", pages)


def test_documents_are_written_and_every_page_is_accounted_for(
    command: Run, run: RunDir, tmp_path: Path
) -> None:
    done = command("export", run.path, tmp_path / "out", "--format", "pdf")
    assert done.code == 0, done.err
    rows = {" ".join(text.split()) for text in done.out.splitlines()}
    assert {"text by OCR 1", "not written: ENCRYPTED_PDF 1", "all 2"} <= rows
    assert "documents: 1 written" in done.out
    assert (tmp_path / "out" / "letter_donation.png.pdf").read_bytes().startswith(b"%PDF-")
    again = command("export", run.path, tmp_path / "out", "--format", "pdf")
    assert "documents: 1 kept" in again.out


def test_text_is_what_comes_without_a_format_and_a_dry_run_writes_nothing(
    command: Run, run: RunDir, tmp_path: Path
) -> None:
    dry = command("export", run.path, tmp_path / "out", "--dry-run")
    assert dry.code == 0, dry.err
    assert "2 pages of 2 documents as text" in dry.out
    assert "letter_donation.png.txt" in dry.out
    assert not (tmp_path / "out").exists()
    assert command("export", run.path, tmp_path / "out").code == 0
    assert (tmp_path / "out" / "letter_donation.png.txt").read_text() == "Dear [Sir]\n"
    other = command("export", run.path, tmp_path / "out", "--format", "alto")
    assert other.code == 5
    assert "holds another export" in other.err


def test_a_bucket_is_reached_as_the_environment_says(
    run: RunDir, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORAGE_ENV, bucket.settings.model_dump_json(exclude_defaults=True))
    console = Console(record=True, width=200)
    asked = export.Asked("pdf", "all", "apply", "form-feed", 1, False)
    out = f"s3://{bucket.name}/pdf/"
    export.documents(console, str(run.path), out, asked, everything=False, candidates=False)
    file = Storage(bucket.settings).read(f"{out}letter_donation.png.pdf", max_bytes=1 << 20)
    assert "Dear [Sir]" in pdfium.PdfDocument(file)[0].get_textpage().get_text_range()
    assert f"index: {out}documents.jsonl" in console.export_text()


def test_options_of_the_other_kind_of_run_are_refused(
    command: Run, run: RunDir, tmp_path: Path
) -> None:
    labels = command("export", run.path, tmp_path / "out", "--format", "coco")
    assert labels.code == 2
    assert "format" in labels.err
    candidates = command("export", run.path, tmp_path / "out", "--candidates")
    assert candidates.code == 2
    assert "--candidates" in candidates.err


def test_a_killed_export_goes_on_and_does_nothing_twice(nightjar: Run, tmp_path: Path) -> None:
    count = 1500
    rows = [
        read_page(2 * n + place, tmp_path / f"{n:05d}.tif", [line(f"{n}.{place}", (0, 0, 9, 9))])
        | {"page": place + 1, "pages": 2, "width": 99, "height": 99}
        for n in range(count)
        for place in (0, 1)
    ]
    order = np.random.default_rng(0).permutation(len(rows))
    shards = [[rows[n] for n in part] for part in np.array_split(order, 4)]
    run = ocr_run(tmp_path / "run", tmp_path, *shards)
    out = tmp_path / "out"
    process = subprocess.Popen(
        nightjar_argv("export", run.path, out, "--format", "hocr"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(out.glob(".nightjar/done-*")):
        assert process.poll() is None, "it was through before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    ledger = [json.loads(text) for path in out.glob(".nightjar/done-*") for text in path.open()]
    before = {entry["file"]: (out / entry["file"]).stat().st_mtime_ns for entry in ledger}
    assert 0 < len(before) < count
    done = nightjar("export", run.path, out, "--format", "hocr")
    assert done.code == 0, done.err
    assert f"{len(before):,} kept" in done.out
    files = {path.name for path in out.glob("*.hocr")}
    assert files == {f"{n:05d}.tif.hocr" for n in range(count)}
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert "17.0" in (out / "00017.tif.hocr").read_text()
    assert len((out / "documents.jsonl").read_text().splitlines()) == count
    assert not list(out.glob(".nightjar/spool-*"))


@pytest.mark.long
def test_the_true_chain_from_scans_to_searchable_pdfs(nightjar: Run, tmp_path: Path) -> None:
    for name in ("minutes_scanned.pdf", "receipt_cafe.jpg", "accession_register.tif"):
        sample(tmp_path / "scans", name)
    config = write_config(tmp_path, tmp_path / "scans")
    assert nightjar("run", config).code == 0
    done = nightjar("export", tmp_path / "run", tmp_path / "out", "--format", "pdf")
    assert done.code == 0, done.err
    for name, words in (("minutes_scanned.pdf", 40), ("accession_register.tif", 40)):
        made = pdfium.PdfDocument(tmp_path / "out" / f"{name}.pdf")
        text = " ".join(page.get_textpage().get_text_range() for page in made)
        truth = " ".join(path.read_text() for path in (SAMPLES / "truth").glob(f"{name}.page*.txt"))
        found = {word for word in truth.split() if word in text.split()}
        assert len(found) >= min(words, 0.8 * len(set(truth.split())))
