"""PDFs with files attached to them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from hand_written_pdf import PdfPage, shown, stream, written_pdf

COVER = ["For the best experience, open this portfolio in Acrobat 9 or later."]


def pdf_with_files(
    files: Sequence[tuple[str, bytes]],
    lines: Sequence[str] = COVER,
    *,
    portfolio: bool = False,
    clips: bool = False,
    pages: int = 1,
    catalog: str = "",
) -> bytes:
    """A PDF whose pages show `lines`.

    `files`: (name, content) in the document's list, or with `clips` behind paper clips on the last
    page. `portfolio`: the catalog says /Collection.
    """
    extra: list[bytes] = []
    specs = []
    for name, content in files:
        number = 100 + len(extra)
        packed = zlib.compress(content)
        said = f"<{(chr(0xFEFF) + name).encode('utf-16-be', 'surrogatepass').hex()}>"
        extra += [
            stream(
                packed,
                f"/Type /EmbeddedFile /Filter /FlateDecode /Params << /Size {len(content)} >>",
            ),
            f"<< /Type /Filespec /F (old) /UF {said} /EF << /F {number} 0 R >> >>".encode(),
        ]
        specs.append(number + 1)
    last = ""
    if clips:
        for spec in specs:
            number = 100 + len(extra)
            extra.append(
                b"<< /Type /Annot /Subtype /FileAttachment /Rect [500 700 512 712] /FS %d 0 R >>"
                % spec
            )
            last += f"{number} 0 R "
    elif specs:
        tree = " ".join(f"(key{n}) {spec} 0 R" for n, spec in enumerate(specs))
        catalog += f" /Names << /EmbeddedFiles << /Names [{tree}] >> >>"
    if portfolio:
        catalog += " /Collection << /Type /Collection /View /D >>"
    shown_pages = [PdfPage(shown(lines)) for _ in range(pages - 1)]
    shown_pages.append(PdfPage(shown(lines), entries=f"/Annots [{last}]" if last else ""))
    return written_pdf(shown_pages, extra, catalog)
