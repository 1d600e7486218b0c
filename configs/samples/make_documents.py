"""Make the sample documents: pages that look scanned, with the text in ``documents/truth``.

    .venv/bin/python configs/samples/make_documents.py [--out FOLDER]

``truth/<file name>.page<N>.txt`` (N counts from 1) holds the text of one page. The page shows
exactly these lines. Blank lines separate blocks; the first block is the heading. To change a
document, edit its text file and run this script. All shops, people and archives are invented.

The noise of a document comes from a generator that is seeded with the document's name. Its pixels
are therefore the same on every run; its bytes also depend on Pillow's codecs. The fonts are DejaVu
and STIX, both free, from matplotlib (a development dependency).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

DOCUMENTS = Path(__file__).resolve().parent / "documents"
PASSWORD = "nightjar"  # opens sealed_deed.pdf

Gray = npt.NDArray[np.float32]  # (height, width), 0 black .. 255 white


@dataclass(frozen=True)
class Sheet:
    """Layout of a page. Lengths are in pixels; `heading` is the size of the first line."""

    font: str
    bold: str
    size: int
    heading: int
    width: int
    height: int
    columns: int = 1
    leading: float = 1.35  # distance of two lines, as a multiple of `size`
    rules: bool = False  # a dashed rule instead of each blank line, as on receipts


def words(page: str) -> list[str]:
    """The lines of a page, for example ``words("receipt_cafe.jpg.page1")``."""
    path = DOCUMENTS / "truth" / f"{page}.txt"
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n")


def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """One of the fonts that come with matplotlib."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    # Pillow's other layout engine is optional and moves glyphs by a pixel.
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def typeset(page: str, sheet: Sheet) -> Image.Image:
    """The text in black on white, without wear. Exits if the text does not fit the sheet."""
    lines = words(page)
    image = Image.new("L", (sheet.width, sheet.height), 255)
    draw = ImageDraw.Draw(image)
    margin = sheet.width // 12
    end_of_heading = lines.index("")
    y = draw_heading(draw, lines[:end_of_heading], sheet, margin)

    body = lines[end_of_heading + 1 :]
    gutter = sheet.width // 24
    column_width = (sheet.width - 2 * margin - gutter * (sheet.columns - 1)) // sheet.columns
    per_column = -(-len(body) // sheet.columns)
    for column in range(sheet.columns):
        x = margin + column * (column_width + gutter)
        part = body[column * per_column : (column + 1) * per_column]
        surplus = draw_column(draw, part, (x, y, column_width), sheet) - sheet.height
        if surplus > 0:
            raise SystemExit(f"{page} is {surplus} px too long for its sheet: shorten its text.")
    return image


def draw_heading(draw: ImageDraw.ImageDraw, lines: list[str], sheet: Sheet, top: int) -> int:
    """Centre the heading block; return the y where the body starts."""
    y = top
    for position, line in enumerate(lines):
        face = font(sheet.font, sheet.size) if position else font(sheet.bold, sheet.heading)
        draw.text((sheet.width / 2, y), line, fill=0, font=face, anchor="ma")
        y += int((sheet.size if position else sheet.heading) * sheet.leading)
    return y + sheet.size


def draw_column(
    draw: ImageDraw.ImageDraw, lines: list[str], box: tuple[int, int, int], sheet: Sheet
) -> int:
    """Draw lines into box (x, y, width); return the y below the last one."""
    x, y, width = box
    face = font(sheet.font, sheet.size)
    widest = max((face.getlength(line) for line in lines), default=0.0)
    if widest > width:
        longest = max(lines, key=face.getlength)
        raise SystemExit(f"A line is {widest - width:.0f} px too wide: {longest!r}")
    for line in lines:
        if line:
            draw.text((x, y), line, fill=0, font=face, anchor="la")
        elif sheet.rules:
            for dash in range(x, x + int(widest), 14):
                draw.line((dash, y + sheet.size // 3, dash + 7, y + sheet.size // 3), 0, 2)
        y += int(sheet.size * (sheet.leading if line else 0.9))
    return y


@dataclass(frozen=True)
class Wear:
    """Defects of paper, print and scanner."""

    skew: float = 0.0  # degrees, counter-clockwise
    ink: float = 0.85  # 1 black .. 0 invisible
    mottle: float = 0.1  # unevenness of the ink, as a share of its strength
    shade: float = 10.0  # gray levels between the lightest and the darkest corner
    blur: float = 0.7  # sigma, pixels
    noise: float = 3.0  # sigma, gray levels
    crease: float | None = None  # position of a fold, as a share of the page's height
    lid: int = 0  # pixels of the scanner's lid around the paper


def seeded(name: str) -> np.random.Generator:
    """A generator seeded with the document's name: the same noise on every run."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def clouds(rng: np.random.Generator, shape: tuple[int, ...], cells: int) -> Gray:
    """Smooth random values between 0 and 1, from a grid of `cells` x `cells`."""
    grid = rng.random((cells, cells), dtype=np.float32)
    smooth = cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.asarray(smooth, np.float32), 0, 1)


def scan(page: Image.Image, wear: Wear, rng: np.random.Generator) -> Gray:
    """Apply the defects: uneven ink, aged paper, skew, blur and sensor noise."""
    ink = (255 - np.asarray(page, np.float32)) / 255
    ink *= wear.ink * (1 - wear.mottle * clouds(rng, ink.shape, 24))
    paper = 246 - wear.shade * clouds(rng, ink.shape, 4)
    if wear.crease is not None:
        fold = int(wear.crease * ink.shape[0])
        paper[fold - 2 : fold] -= 22
        paper[fold : fold + 3] += 8
    sheet = lay_on_glass(add_dust(np.asarray(paper * (1 - ink), np.float32), rng), wear)
    sheet = np.asarray(cv2.GaussianBlur(sheet, (0, 0), wear.blur), np.float32)
    sheet += wear.noise * rng.standard_normal(sheet.shape, dtype=np.float32)
    return np.clip(sheet, 0, 255)


def add_dust(sheet: Gray, rng: np.random.Generator) -> Gray:
    """Add a dozen faint specks, smaller than a full stop."""
    height, width = sheet.shape
    for x, y in zip(rng.integers(0, width, 12), rng.integers(0, height, 12), strict=True):
        cv2.circle(sheet, (int(x), int(y)), 1, (120,), -1)
    return sheet


def lay_on_glass(sheet: Gray, wear: Wear) -> Gray:
    """Rotate the sheet, and fill the border with the lid and the shadow of the paper's edge."""
    pad = wear.lid
    height, width = sheet.shape[0] + 2 * pad, sheet.shape[1] + 2 * pad
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), wear.skew, 1.0)
    if pad:
        lid = np.full((height, width), 205, np.float32)
        cv2.rectangle(lid, (pad - 2, pad - 2), (width - pad + 3, height - pad + 4), (150,), -1)
        lid = np.asarray(cv2.GaussianBlur(lid, (0, 0), 3), np.float32)
        lid[pad:-pad, pad:-pad] = sheet
        sheet = lid
    turned = cv2.warpAffine(
        sheet, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(turned, np.float32)


def gray_image(gray: Gray, step: int = 1) -> Image.Image:
    """An 8-bit gray image; `step=16` keeps 16 levels (a 4-bit scan) in a fifth of the bytes."""
    return Image.fromarray(np.clip(np.rint(gray / step) * step, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, quality: int = 75) -> bytes:
    """The bytes of an image file of this format; `quality` is for JPEG."""
    held = io.BytesIO()
    image.save(held, kind, quality=quality)
    return held.getvalue()


A4 = (595, 842)  # points
PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
PERMISSIONS = -4  # all rights: the password is only needed to open the file


def rc4(key: bytes, data: bytes) -> bytes:
    """RC4. It is weak, but the password is public anyway."""
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i, j, out = 0, 0, bytearray()
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def md5(data: bytes, rounds: int = 1) -> bytes:
    """MD5 applied `rounds` times."""
    for _ in range(rounds):
        data = hashlib.md5(data, usedforsecurity=False).digest()
    return data


def rc4_twenty(key: bytes, data: bytes) -> bytes:
    """Twenty passes of RC4; each pass XORs the key with its number."""
    for turn in range(20):
        data = rc4(bytes(byte ^ turn for byte in key), data)
    return data


def seal(password: str, file_id: bytes) -> tuple[bytes, bytes]:
    """Key and /Encrypt dictionary: standard security handler, revision 3, 128 bits (ISO 32000-1,
    7.6.3.3 and 7.6.3.4). Owner and user have the same password."""
    padded = (password.encode("latin-1") + PADDING)[:32]
    owner = rc4_twenty(md5(padded, 51), padded)
    limits = PERMISSIONS.to_bytes(4, "little", signed=True)
    key = md5(padded + owner + limits + file_id, 51)
    user = rc4_twenty(key, md5(PADDING + file_id)) + bytes(16)
    entries = f"/P {PERMISSIONS} /O <{owner.hex()}> /U <{user.hex()}>"
    return key, f"<< /Filter /Standard /V 2 /R 3 /Length 128 {entries} >>".encode()


def typed_page(lines: list[str]) -> bytes:
    """Content stream of a born-digital page; the first line is the title."""
    escapes = str.maketrans({"\\": r"\\", "(": r"\(", ")": r"\)"})
    title, *body = (f"({line.translate(escapes)}) Tj T*" for line in lines)
    shown = ["BT /F1 18 Tf 72 760 Td 16 TL", title, "/F2 12 Tf", *body, "ET"]
    return "\n".join(shown).encode("cp1252")


def write_pdf(pages: Sequence[list[str] | Image.Image], password: str = "") -> bytes:
    """An A4 PDF of typed pages (lists of lines) and scanned pages (gray images, as JPEG)."""
    file_id = md5(b"nightjar samples")
    key, encrypt = seal(password, file_id) if password else (b"", b"null")
    font_object = b"<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding /WinAnsiEncoding >>"
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", encrypt]
    objects += [font_object % b"Helvetica-Bold", font_object % b"Times-Roman"]
    kids = []

    def add_stream(entries: str, data: bytes) -> int:
        number = len(objects) + 1
        if key:  # each object has its own key: number and generation, little-endian
            data = rc4(md5(key + number.to_bytes(3, "little") + b"\0\0"), data)
        head = f"<< {entries} /Length {len(data)} >>\nstream\n".encode()
        objects.append(head + data + b"\nendstream")
        return number

    for page in pages:
        if isinstance(page, Image.Image):
            size = f"/Width {page.width} /Height {page.height}"
            kind = "/Type /XObject /Subtype /Image /ColorSpace /DeviceGray /BitsPerComponent 8"
            image = add_stream(f"{kind} {size} /Filter /DCTDecode", encoded(page, "JPEG", 55))
            resources = f"/XObject << /Scan {image} 0 R >>"
            content = add_stream("", b"%d 0 0 %d 0 0 cm /Scan Do" % A4)
        else:
            resources = "/Font << /F1 4 0 R /F2 5 0 R >>"
            content = add_stream("", typed_page(page))
        kids.append(f"{len(objects) + 1} 0 R")
        entries = f"/Resources << {resources} >> /Contents {content} 0 R"
        box = f"/MediaBox [0 0 {A4[0]} {A4[1]}]"
        objects.append(f"<< /Type /Page /Parent 2 0 R {box} {entries} >>".encode())
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()
    secret = f"/Encrypt 3 0 R /ID [<{file_id.hex()}> <{file_id.hex()}>]" if key else ""
    return assemble(objects, secret)


def assemble(objects: list[bytes], trailer: str) -> bytes:
    """Number the objects from 1 and add the cross-reference table."""
    out, offsets = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    end = f"trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{len(out)}\n%%EOF\n"
    return bytes(out) + f"xref\n0 {size}\n0000000000 65535 f \n{table}{end}".encode()


MONO = ("DejaVuSansMono", "DejaVuSansMono-Bold")
BOOK = ("DejaVuSerif", "DejaVuSerif-Bold")
TILL = Sheet(*MONO, size=24, heading=32, width=570, height=830, rules=True)
LONG = replace(TILL, height=980)
A5 = Sheet("STIXGeneral", "STIXGeneralBol", size=32, heading=44, width=1000, height=1414)
BULLETIN = Sheet(*BOOK, size=25, heading=40, width=1000, height=850, columns=2)

#: Faded and out of focus, so that OCR gives low scores.
FADED = Wear(skew=-2.1, ink=0.35, mottle=0.5, shade=30, blur=2.4, noise=7, crease=0.4, lid=30)

#: name -> sheet, wear, JPEG quality, EXIF orientation. Phones store pages sideways with orientation
#: 6: a viewer must turn them clockwise.
RECEIPTS = {
    "receipt_cafe.jpg": (TILL, Wear(skew=1.3, crease=0.62, lid=34), 70, 1),
    "receipt_grocer.jpg": (LONG, Wear(skew=-0.8, shade=26, noise=5, lid=28), 65, 1),
    "receipt_garage_faded.jpg": (TILL, FADED, 60, 1),
    "receipt_pharmacy_sideways.jpg": (TILL, Wear(skew=0.6, noise=4, lid=24), 80, 6),
}

LETTERS = {
    "letter_donation.png": (A5, Wear(skew=0.5, crease=0.5, noise=2, shade=14)),
    "bulletin_two_columns.png": (BULLETIN, Wear(skew=-0.4, ink=0.78, noise=2, shade=8)),
    "blank_page.png": (A5, Wear(crease=0.5, noise=1.5)),
}


def make_receipts(out: Path) -> None:
    """Four receipts as JPEG, and one that is truncated after two fifths of its bytes."""
    for name, (sheet, wear, quality, orientation) in RECEIPTS.items():
        gray = scan(typeset(f"{name}.page1", sheet), wear, seeded(name))
        warm = gray[:, :, None] * np.asarray((1.0, 0.985, 0.95), np.float32)  # thermal paper
        image = Image.fromarray(np.rint(warm).astype(np.uint8))
        if orientation == 6:
            image = image.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(out / name, quality=quality, exif=exif, dpi=(200, 200))
    whole = (out / "receipt_cafe.jpg").read_bytes()
    (out / "receipt_torn.jpg").write_bytes(whole[: len(whole) * 2 // 5])


def make_letters(out: Path) -> None:
    """Gray scans with 16 levels as PNG; the last one is a blank page."""
    for name, (sheet, wear) in LETTERS.items():
        gray = scan(typeset(f"{name}.page1", sheet), wear, seeded(name))
        gray_image(gray, step=16).save(out / name, dpi=(172, 172), optimize=True)


def make_pdfs(out: Path) -> None:
    """A born-digital report with one scanned page, scanned minutes, and a sealed deed."""
    rng = seeded("pdf")
    notice = Sheet(*BOOK, size=40, heading=52, width=1000, height=1414)
    pinned = scan(typeset("annual_report.pdf.page3", notice), Wear(skew=1.1, shade=20), rng)
    typed = [words(f"annual_report.pdf.page{page}") for page in (1, 2)]
    (out / "annual_report.pdf").write_bytes(write_pdf([*typed, gray_image(pinned)]))

    minutes = Sheet(*MONO, size=27, heading=30, width=1000, height=1414, leading=1.9)
    wear = Wear(skew=-0.7, ink=0.8, mottle=0.3, blur=0.9, crease=0.34)
    pages = [typeset(f"minutes_scanned.pdf.page{page}", minutes) for page in (1, 2)]
    scans = [gray_image(scan(page, wear, rng)) for page in pages]
    (out / "minutes_scanned.pdf").write_bytes(write_pdf(scans))

    deed = words("sealed_deed.pdf.page1")
    (out / "sealed_deed.pdf").write_bytes(write_pdf([deed], PASSWORD))


def make_register(out: Path) -> None:
    """A TIFF of three pages, one bit per pixel, CCITT group 4, as in fax archives."""
    name = "accession_register.tif"
    rng = seeded(name)
    sheet = Sheet(*MONO, size=30, heading=42, width=1100, height=850, leading=1.8)
    pages = []
    for page, skew in enumerate((0.5, -0.6, 0.2), 1):
        wear = Wear(skew=skew, mottle=0.3, blur=1.0, noise=16)
        gray = scan(typeset(f"{name}.page{page}", sheet), wear, rng)
        pages.append(Image.fromarray(gray > 150))
    first, rest = pages[0], pages[1:]
    first.save(out / name, save_all=True, append_images=rest, compression="group4", dpi=(200, 200))


def make_tickets(out: Path) -> None:
    """Two tickets in a zip; a fixed date keeps the bytes the same on every run."""
    rng = seeded("kiosk.zip")
    sheet = Sheet(*BOOK, size=34, heading=46, width=820, height=420)
    with zipfile.ZipFile(out / "kiosk.zip", "w") as archive:
        for member, skew in (("tram_ticket.png", 0.9), ("museum_ticket.jpg", -1.2)):
            gray = scan(typeset(f"kiosk.zip.{member}.page1", sheet), Wear(skew=skew, noise=2), rng)
            data = encoded(gray_image(gray, step=16), "PNG" if "png" in member else "JPEG")
            archive.writestr(zipfile.ZipInfo(member, (2024, 7, 20, 14, 30, 0)), data)


def main() -> None:
    """Write all documents into the folder --out."""
    parser = argparse.ArgumentParser(description="Make the sample documents.")
    parser.add_argument("--out", type=Path, default=DOCUMENTS, help="folder for the documents")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for make in (make_receipts, make_letters, make_pdfs, make_register, make_tickets):
        make(out)


if __name__ == "__main__":
    main()
