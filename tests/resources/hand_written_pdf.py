"""PDFs written object by object: hidden text, form fields, rotation, wrong codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

A4 = (595, 842)  # points


@dataclass(frozen=True)
class PdfPage:
    """`content`: the drawing operators; F1 is Helvetica, further resources go into `resources`."""

    content: str = ""
    entries: str = ""  # of the page's dictionary, e.g. "/Rotate 90"
    resources: str = ""
    size: tuple[float, float] = A4


def written_pdf(pages: Sequence[PdfPage], extra: Sequence[bytes] = (), catalog: str = "") -> bytes:
    """The file. `extra` objects are numbered from 100 on."""
    kids = " ".join(f"{10 + 2 * i} 0 R" for i in range(len(pages)))
    objects = {
        1: f"<< /Type /Catalog /Pages 2 0 R {catalog} >>".encode(),
        2: f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    }
    for i, page in enumerate(pages):
        number = 10 + 2 * i
        box = f"[0 0 {page.size[0]} {page.size[1]}]"
        objects[number] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents {number + 1} 0 R"
            f" {page.entries} /Resources << /Font << /F1 3 0 R >> {page.resources} >> >>"
        ).encode()
        objects[number + 1] = stream(page.content.encode("cp1252"))
    objects |= {100 + i: body for i, body in enumerate(extra)}
    return _assembled(objects)


def stream(data: bytes, entries: str = "") -> bytes:
    """A stream object."""
    head = f"<< /Length {len(data)} {entries} >>\nstream\n".encode()
    return head + data + b"\nendstream"


def shown(lines: Sequence[str], *, x: float = 72, y: float = 740, mode: int = 0) -> str:
    """Operators that write lines of 12 pt from (x, y) downwards; mode 3 is invisible."""
    words = " ".join(f"({line}) Tj T*" for line in lines)
    return f" BT /F1 12 Tf {mode} Tr {x} {y} Td 18 TL {words} ET "


def _assembled(objects: dict[int, bytes]) -> bytes:
    out = bytearray(b"%PDF-1.7\n")
    table = [b"0000000000 65535 f \n"] * (max(objects) + 1)
    for number, body in objects.items():
        table[number] = b"%010d 00000 n \n" % len(out)
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    xref = b"xref\n0 %d\n" % len(table) + b"".join(table)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\n" % len(table)
    return bytes(out) + xref + trailer + b"startxref\n%d\n%%%%EOF\n" % len(out)
