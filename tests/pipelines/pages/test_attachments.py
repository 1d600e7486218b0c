"""Files attached to PDFs: always counted, read as documents of their own if the config says so."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pikepdf
import pyarrow as pa
import pytest
from attached_files import pdf_with_files
from bad_files import drawn
from hand_written_pdf import PdfPage, shown, written_pdf

from actors.failures import FailureKind, ItemFailure
from pipelines.decisions.settling import settle_page
from pipelines.engine.workers.worker import checked
from pipelines.pages.attached import may_have_attachments
from pipelines.pages.fetch import FetchConfig, PageFetcher, open_sandbox
from pipelines.pages.notes import PageNote
from pipelines.pages.page import RenderOptions
from pipelines.pages.pdf.attachments import AttachedFiles, attached_to, distinct, safe_name
from pipelines.pages.render import render_page
from pipelines.sources.listing import SourceConfig
from pipelines.sources.manifest import ManifestSummary, freeze, iter_parts, read_part
from pipelines.storage.client import Storage
from pipelines.storage.objects import names_attachments, split_attachment, split_member

CASES = Path(__file__).parents[4] / "shared/cases/documents"
MINUTES = [f"Minute {n} of the parish meeting in the village hall" for n in range(8)]
PDF = written_pdf([PdfPage(shown(MINUTES)), PdfPage(shown(MINUTES))])
XML = b"<?xml version='1.0'?><rsm:CrossIndustryInvoice/>"
INVOICE = [f"Position {n}: 4 boxes of seed potatoes at 12.50" for n in range(8)]


def png() -> bytes:
    file = io.BytesIO()
    drawn("A note", (300, 80), 24).save(file, "PNG")
    return file.getvalue()


def content_of(data: bytes, name: str, passwords: tuple[str, ...], most: int) -> bytes:
    return AttachedFiles(data, passwords).content(name, most)


# --- what a PDF holds ------------------------------------------------------------


@pytest.mark.parametrize("clips", [False, True])
def test_names_and_contents(clips: bool) -> None:
    data = pdf_with_files([("minutes.pdf", PDF), ("Übersicht.xml", XML)], clips=clips, pages=2)
    found = attached_to(data, ())
    assert found.names == ("minutes.pdf", "Übersicht.xml")
    assert not found.portfolio
    assert content_of(data, "minutes.pdf", (), 1 << 20) == PDF
    assert content_of(data, "Übersicht.xml", (), 1 << 20) == XML


def test_a_file_in_the_list_and_behind_a_clip_counts_once() -> None:
    """And a portfolio is one only with files."""
    both = pdf_with_files([("a.xml", XML)], clips=True)
    both = both.replace(
        b"/Pages 2 0 R", b"/Pages 2 0 R /Names << /EmbeddedFiles << /Names [(a) 101 0 R] >> >>"
    )
    pdf = pikepdf.open(io.BytesIO(both), suppress_warnings=True)
    rewritten = io.BytesIO()
    pdf.save(rewritten)
    assert attached_to(rewritten.getvalue(), ()).names == ("a.xml",)
    empty = pdf_with_files([], portfolio=True)
    assert may_have_attachments(empty)
    assert attached_to(empty, ()) == attached_to(PDF, ())


def test_compressed_objects_and_passwords() -> None:
    """The catalog and the specifications lie in an object stream; the file is encrypted.

    /Type /EmbeddedFile is optional: without it, nothing outside of the stream says so.
    """
    untyped = pdf_with_files([("a.pdf", PDF)], portfolio=True)
    untyped = untyped.replace(b"/Type /EmbeddedFile", b"")
    pdf = pikepdf.open(io.BytesIO(untyped), suppress_warnings=True)
    packed, locked = io.BytesIO(), io.BytesIO()
    pdf.save(packed, object_stream_mode=pikepdf.ObjectStreamMode.generate)
    pdf.save(locked, encryption=pikepdf.Encryption(owner="o", user="u"))
    assert not any(sign in packed.getvalue() for sign in (b"/Collection", b"/EmbeddedFile"))
    assert attached_to(packed.getvalue(), ()).portfolio
    assert attached_to(locked.getvalue(), ("wrong", "u")).names == ("a.pdf",)
    assert content_of(locked.getvalue(), "a.pdf", ("u",), 1 << 20) == PDF
    assert attached_to(locked.getvalue(), ()).names == ()


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("minutes.pdf", "minutes.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\kim\\scan.tif", "scan.tif"),
        ("/", "attachment"),
        ("..", "attachment"),
        ("  ", "attachment"),
        ("a\x00b\nc\u202e.pdf", "a_b_c_.pdf"),
        ("bad\ud800.pdf", "bad_.pdf"),
        ("x.zip!/y.pdf", "y.pdf"),
        ("議事録.pdf", "議事録.pdf"),
        ("n" * 4000 + ".pdf", "n" * 116 + ".pdf"),
        (".pdf", ".pdf"),
    ],
)
def test_names_are_plain_file_names(said: str, name: str) -> None:
    assert safe_name(said) == name


def test_equal_names_are_told_apart() -> None:
    data = pdf_with_files([("a.pdf", PDF), ("dir/a.pdf", XML), ("a (2).pdf", PDF), ("a.pdf", XML)])
    names = attached_to(data, ()).names
    assert names == ("a.pdf", "a (2).pdf", "a (2) (2).pdf", "a (3).pdf")
    assert content_of(data, "a (2).pdf", (), 1 << 20) == XML
    assert content_of(data, "a (3).pdf", (), 1 << 20) == XML
    assert distinct("a", {"a"}) == "a (2)"


def test_limits_and_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pdf_with_files([("a.pdf", PDF), ("empty.txt", b""), ("zeros", bytes(200 << 20))])
    for name, most, kind in (
        ("a.pdf", 100, FailureKind.TOO_MANY_BYTES),
        ("zeros", 1 << 30, FailureKind.TOO_MANY_BYTES),  # 200 MiB out of 200 KiB
        ("empty.txt", 100, FailureKind.EMPTY_FILE),
        ("none", 100, FailureKind.OBJECT_MISSING),
    ):
        with pytest.raises(ItemFailure) as failed:
            content_of(data, name, (), most)
        assert failed.value.kind is kind
    broken = data.replace(b"/Filter /FlateDecode /Params", b"/Filter /JBIG2Decod /Params ")
    with pytest.raises(ItemFailure, match="attachment"):
        content_of(broken, "a.pdf", (), 1 << 20)
    monkeypatch.setattr("pipelines.pages.pdf.attachments._MOST_FILES", 2)
    with pytest.raises(ItemFailure) as many:
        attached_to(data, ())
    assert many.value.kind is FailureKind.TOO_MANY_MEMBERS


@pytest.mark.parametrize(
    "catalog",
    [
        "/Names << /EmbeddedFiles << /Kids [2 0 R] >> >> /Collection 7",
        "/Names << /EmbeddedFiles << /Names [(a) (b) 3 0 R] >> >>",
        "/Names [1 2] /Filespec null",
        "/Names << /EmbeddedFiles 1 0 R >>",
    ],
)
def test_malformed_lists_fail_no_page(catalog: str) -> None:
    data = written_pdf([PdfPage(shown(MINUTES))], catalog=catalog + " /X /EmbeddedFile")
    assert render_page(data, 1, RenderOptions()).native_text == "\n".join(MINUTES)


# --- the pages of the PDF itself ------------------------------------------------------------


def test_notes_on_the_first_page() -> None:
    invoice = pdf_with_files([("factur-x.xml", XML)], INVOICE, pages=2)
    assert render_page(invoice, 1, RenderOptions()).notes == (PageNote.ATTACHMENTS,)
    assert render_page(invoice, 2, RenderOptions()).notes == ()
    cover = pdf_with_files([("a.pdf", PDF)], portfolio=True)
    assert render_page(cover, 1, RenderOptions()).notes == (
        PageNote.ATTACHMENTS,
        PageNote.PORTFOLIO,
    )
    assert render_page(PDF, 1, RenderOptions()).notes == ()


def test_case() -> None:
    path = CASES / "portfolio_cover.pdf"
    if not path.exists():
        pytest.skip(f"{path} is not beside this repository")
    page = render_page(path.read_bytes(), 1, RenderOptions())
    assert page.notes == (PageNote.ATTACHMENTS, PageNote.PORTFOLIO)
    assert attached_to(path.read_bytes(), ()).names == ("minutes.pdf",)


# --- from the plan to the pages ------------------------------------------------------------


def planned(source: Path | str, into: Path, **config: Any) -> tuple[ManifestSummary, pa.Table]:
    """A frozen manifest, and its rows."""
    with_sandbox = FetchConfig()
    summary = freeze(
        SourceConfig(path=str(source), **config),
        into,
        storage=Storage(),
        open_counter=lambda: open_sandbox(with_sandbox),
    )
    return summary, pa.concat_tables([read_part(part) for part in iter_parts(into)])


def fetched(rows: pa.Table, *, attachments: bool) -> list[dict[str, Any]]:
    fetcher = PageFetcher(FetchConfig().reading_attachments(attachments))
    return [dict(row) for row in checked(fetcher, fetcher(rows), rows).to_pylist()]


def settled(row: dict[str, Any]) -> tuple[str, list[str]]:
    """Outcome and reasons without a reader."""
    page = settle_page({**row, "ocr_lines": None, "ocr_failure": None, "doubts": []})  # type: ignore[typeddict-item]
    return page["outcome"], page["reasons"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A portfolio, an invoice and a plain PDF; a portfolio in a zip."""
    source = tmp_path / "source"
    source.mkdir()
    files = [("minutes.pdf", PDF), ("note.png", png()), ("list.xlsx", b"PK\x03\x04 no document")]
    (source / "Portfolio.PDF").write_bytes(pdf_with_files(files, portfolio=True))
    (source / "invoice.pdf").write_bytes(pdf_with_files([("factur-x.xml", XML)], INVOICE))
    (source / "plain.pdf").write_bytes(PDF)
    with zipfile.ZipFile(source / "mail.zip", "w") as archive:
        archive.writestr("inner/offer.pdf", pdf_with_files([("offer.pdf", PDF)], INVOICE))
    return source


def test_attachments_are_counted_and_not_read(folder: Path, tmp_path: Path) -> None:
    summary, rows = planned(folder, tmp_path / "manifest")
    assert summary.about_attachments() == (
        "5 attached files in 3 documents, not read (source.attachments: true reads them)"
    )
    assert (summary.files, summary.pages) == (4, 5)
    out = {Path(row["uri"]).name: row for row in fetched(rows, attachments=False)}
    cover = out["Portfolio.PDF"]
    assert cover["notes"] == ["attachments", "portfolio"]
    assert settled(cover) == ("review", ["attachments"])
    assert out["invoice.pdf"]["notes"] == ["attachments"]
    assert settled(out["invoice.pdf"]) == ("native_text", [])


def test_attachments_become_documents(folder: Path, tmp_path: Path) -> None:
    summary, rows = planned(folder, tmp_path / "manifest", attachments=True)
    assert summary.about_attachments() == "5 attached files in 3 documents, read as documents"
    below = [
        (row["uri"].removeprefix(f"{folder}/"), row["page"], row["pages"], row["kind"])
        for row in rows.to_pylist()
    ]
    assert below == [
        ("Portfolio.PDF", 1, 1, "pdf"),
        ("Portfolio.PDF!/minutes.pdf", 1, 2, "pdf"),
        ("Portfolio.PDF!/minutes.pdf", 2, 2, "pdf"),
        ("Portfolio.PDF!/note.png", 1, 1, "png"),
        ("Portfolio.PDF!/list.xlsx", 1, 1, "unknown"),
        ("invoice.pdf", 1, 1, "pdf"),
        ("invoice.pdf!/factur-x.xml", 1, 1, "unknown"),
        ("mail.zip!/inner/offer.pdf", 1, 1, "pdf"),
        ("mail.zip!/inner/offer.pdf!/offer.pdf", 1, 2, "pdf"),
        ("mail.zip!/inner/offer.pdf!/offer.pdf", 2, 2, "pdf"),
        ("plain.pdf", 1, 2, "pdf"),
        ("plain.pdf", 2, 2, "pdf"),
    ]
    etags = {row["uri"].split("!/")[0]: set[str]() for row in rows.to_pylist()}
    for row in rows.to_pylist():
        etags[row["uri"].split("!/")[0]].add(row["etag"])
    assert all(len(found) == 1 for found in etags.values())  # the version of the container
    out = fetched(rows, attachments=True)
    assert out[0]["notes"] == ["attachments"]  # its files have rows: the cover is no review
    assert settled(out[0]) == ("native_text", [])
    for number in (1, 2, 8, 9):
        assert out[number]["native_text"] == "\n".join(MINUTES)
    assert out[3]["image"] == png()
    assert out[4]["fetch_failure"]["kind"] == "UNSUPPORTED_KIND"
    assert out[6]["fetch_failure"]["kind"] == "UNSUPPORTED_KIND"


def test_globs_hidden_names_and_unknown_kinds(folder: Path, tmp_path: Path) -> None:
    files = [("a.pdf", PDF), (".hidden.pdf", PDF), ("b.png", png())]
    (folder / "more.pdf").write_bytes(pdf_with_files(files))
    config = {"attachments": True, "unknown": "skip", "exclude": ["*.png", "mail.zip"]}
    summary, rows = planned(folder, tmp_path / "manifest", **config)
    names = {uri.removeprefix(f"{folder}/") for uri in rows["uri"].to_pylist()}
    assert names == {
        *("Portfolio.PDF", "Portfolio.PDF!/minutes.pdf", "invoice.pdf", "plain.pdf"),
        *("more.pdf", "more.pdf!/a.pdf"),
    }
    assert summary.skipped == 2
    assert summary.passed_over == {"excluded": 3, "hidden": 1}


def test_one_level_deep(tmp_path: Path) -> None:
    """A portfolio in a portfolio is read; its own files are not, so its cover goes to review."""
    inner = pdf_with_files([("deep.pdf", PDF)], portfolio=True)
    source = tmp_path / "outer.pdf"
    source.write_bytes(pdf_with_files([("inner.pdf", inner)], portfolio=True))
    _, rows = planned(source, tmp_path / "manifest", attachments=True)
    assert rows["uri"].to_pylist() == [str(source), f"{source}!/inner.pdf"]
    outer, cover = fetched(rows, attachments=True)
    assert settled(outer) == ("native_text", [])
    assert settled(cover) == ("review", ["attachments"])


def test_a_list_names_an_attached_file(folder: Path, tmp_path: Path) -> None:
    """Also without source.attachments, because the list asks for it."""
    wanted = folder / "wanted.csv"
    wanted.write_text(f"uri,page\n{folder}/Portfolio.PDF!/minutes.pdf,2\n")
    _, rows = planned(wanted, tmp_path / "manifest")
    assert [(row["page"], row["pages"]) for row in rows.to_pylist()] == [(2, 2)]
    (page,) = fetched(rows, attachments=False)
    assert page["native_text"] == "\n".join(MINUTES)


def test_a_changed_container_is_named(folder: Path, tmp_path: Path) -> None:
    _, rows = planned(folder / "Portfolio.PDF", tmp_path / "manifest", attachments=True)
    (folder / "Portfolio.PDF").write_bytes(pdf_with_files([("other.pdf", PDF)]))
    kinds = {row["fetch_failure"]["kind"] for row in fetched(rows, attachments=True)}
    assert kinds == {"OBJECT_CHANGED"}


def test_too_many_files_cost_one_row(folder: Path, tmp_path: Path) -> None:
    """The rest gets a row that names the failure; the pages of the PDF are read."""
    files = [(f"{n}.txt", b"x%d" % n) for n in range(10_001)]
    source = folder / "many.pdf"
    source.write_bytes(pdf_with_files(files, INVOICE))
    _, rows = planned(source, tmp_path / "manifest", attachments=True)
    assert rows["uri"].to_pylist() == [str(source), f"{source}!/"]
    page, rest = fetched(rows, attachments=True)
    assert page["native_text"] == "\n".join(INVOICE)
    assert rest["fetch_failure"]["kind"] == "TOO_MANY_MEMBERS"


def test_a_container_is_sent_once_and_again_after_a_crash() -> None:
    data = pdf_with_files([(f"{n}.pdf", PDF) for n in range(3)])
    with open_sandbox(FetchConfig()) as sandbox:
        assert sandbox.attached("k", data).names == ("0.pdf", "1.pdf", "2.pdf")
        assert sandbox.count_pages("p", PDF) == 2
        assert sandbox.attachment("k", b"", "1.pdf", 1 << 20) == PDF  # it has it already
        sandbox.close()
        assert sandbox.attachment("k", data, "2.pdf", 1 << 20) == PDF
        with pytest.raises(ItemFailure, match="no file"):
            sandbox.attachment("k", data, "3.pdf", 1 << 20)


def test_a_folder_that_is_called_like_a_pdf(tmp_path: Path) -> None:
    odd = tmp_path / "source" / "x.pdf!"
    odd.mkdir(parents=True)
    (odd / "a.pdf").write_bytes(PDF)
    _, rows = planned(tmp_path / "source", tmp_path / "manifest", attachments=True)
    first, second = fetched(rows, attachments=True)
    assert first["native_text"] == second["native_text"] == "\n".join(MINUTES)


def test_uris() -> None:
    assert split_attachment("s3://b/x.zip!/a.PDF!/b!/c.pdf") == ("s3://b/x.zip!/a.PDF", "b!/c.pdf")
    assert split_attachment("/a/b.pdf") == ("/a/b.pdf", None)
    assert split_member("/a/b.pdf!/c.xml") == ("/a/b.pdf", "c.xml")
    assert split_member("/x.zip!/b.pdf!/c.xml") == ("/x.zip", "b.pdf!/c.xml")
    assert names_attachments("/x.zip!/b.pdf")
    assert not names_attachments("/b.pdf!/c.pdf")
    assert not names_attachments("/b.png")
