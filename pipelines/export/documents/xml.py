"""Pages as hOCR 1.2 (XHTML) and ALTO 4, with all pages of a document in one file.

Both formats want boxes of words, but readers give boxes of lines. Word boxes are estimated within
their line by `pipelines.export.text_layout`. A line without a position has the box of its page in
hOCR, which requires a box, and none in ALTO; its words have no boxes.

Boxes are in pixels of the upright page. hOCR's `x_rotation` says by how many degrees clockwise the
page of the file was turned for it; ALTO has no place for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import version
from xml.sax.saxutils import escape, quoteattr

from pipelines.export.characters import xml_text
from pipelines.export.page import ExportLine, ExportPage, paragraphs
from pipelines.export.text_layout import angle_of, box_of, is_rtl, part_of, quad_of, words_of

Box = tuple[int, int, int, int]

#: Degrees from which a line counts as rotated: scans are skewed by less.
_TURNED = 2.0

_HOCR_HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" \
"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml">
<head>
<title>{title}</title>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8" />
<meta name="ocr-system" content={system} />
<meta name="ocr-capabilities" content="ocr_page ocr_par ocr_line ocrx_word ocrp_dir" />
<meta name="ocr-number-of-pages" content="{pages}" />
<meta name="ocr-langs" content="unknown" />
<meta name="ocr-scripts" content="unknown" />
</head>
<body>
"""

_ALTO_HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#" SCHEMAVERSION="4.4">
<Description>
<MeasurementUnit>pixel</MeasurementUnit>
<sourceImageInformation><fileName>{title}</fileName></sourceImageInformation>
<Processing ID="nightjar"><processingSoftware><softwareName>nightjar</softwareName>\
<softwareVersion>{version}</softwareVersion></processingSoftware></Processing>
</Description>
<Layout>
"""


def hocr_of(uri: str, count: int, pages: Iterable[ExportPage]) -> Iterator[str]:
    """An hOCR document of `count` pages, in pieces."""
    system = quoteattr(f"nightjar {version('nightjar')}")
    yield _HOCR_HEAD.format(title=_text(uri), system=system, pages=count)
    for page in pages:
        yield _hocr_page(uri, page)
    yield "</body>\n</html>\n"


def _hocr_page(uri: str, page: ExportPage) -> str:
    width, height = page.size or (0, 0)
    image = xml_text(uri).replace('"', "%22")
    title = f'image "{image}"; bbox 0 0 {width} {height}; ppageno {page.number - 1}'
    title += f"; x_outcome {page.row['outcome']}"
    title += f"; x_rotation {page.rotation}" if page.rotation else ""
    out = [f'<div class="ocr_page" id="page_{page.number}" title={quoteattr(title)}>\n']
    whole = (0, 0, width, height)
    numbers = iter(range(1, len(page.lines) + 1))
    for place, lines in enumerate(paragraphs(page), start=1):
        box = _around([_box(line, whole) or whole for line in lines])
        name = f"par_{page.number}_{place}"
        out.append(f'<p class="ocr_par" id="{name}" title="{_bbox(box)}">\n')
        out += [_hocr_line(line, page.number, next(numbers), whole) for line in lines]
        out.append("</p>\n")
    return "".join([*out, "</div>\n"])


def _hocr_line(line: ExportLine, page: int, number: int, whole: Box) -> str:
    title = _bbox(_box(line, whole) or whole)
    text = _text(line.text)
    if line.polygon:
        angle = angle_of(quad_of(line.polygon, line.text))
        title += f"; textangle {angle:.1f}" if abs(angle) >= _TURNED else ""
        text = " ".join(_hocr_words(line, page, number, whole))
    direction = ' dir="rtl"' if is_rtl(line.text) else ""
    name = f"line_{page}_{number}"
    return f'<span class="ocr_line" id="{name}"{direction} title="{title}">{text}</span>\n'


def _hocr_words(line: ExportLine, page: int, number: int, whole: Box) -> Iterator[str]:
    score = "" if line.score is None else f"; x_wconf {_percent(line.score)}"
    for place, (word, box) in enumerate(_word_boxes(line, whole), start=1):
        name = f"word_{page}_{number}_{place}"
        title = f"{_bbox(box)}{score}"
        yield f'<span class="ocrx_word" id="{name}" title="{title}">{_text(word)}</span>'


def alto_of(uri: str, pages: Iterable[ExportPage]) -> Iterator[str]:
    """An ALTO document, in pieces."""
    yield _ALTO_HEAD.format(title=_text(uri), version=_text(version("nightjar")))
    for page in pages:
        yield _alto_page(page)
    yield "</Layout>\n</alto>\n"


def _alto_page(page: ExportPage) -> str:
    width, height = page.size or (0, 0)
    size = f' HEIGHT="{height}" WIDTH="{width}"' if page.size else ""
    quality = page.row["outcome"]
    if page.failure and page.text is None:
        quality += f": {page.failure['kind']}"
    scores = [line.score for line in page.lines if line.score is not None]
    sure = f' PC="{_share(sum(scores) / len(scores))}"' if scores else ""
    name = f"page_{page.number}"
    out = [
        f'<Page ID="{name}" PHYSICAL_IMG_NR="{page.number}"{size}'
        f" QUALITY_DETAIL={quoteattr(quality)}{sure}>\n<PrintSpace"
        + (f'{size} HPOS="0" VPOS="0">\n' if page.size else ">\n")
    ]
    whole = (0, 0, width, height)
    numbers = iter(range(1, len(page.lines) + 1))
    for place, lines in enumerate(paragraphs(page), start=1):
        boxes = [box for line in lines if (box := _box(line, whole))]
        where = _alto_box(_around(boxes or [whole])) if boxes or page.size else ""
        out.append(f'<TextBlock ID="block_{page.number}_{place}"{where}>\n')
        out += [_alto_line(line, f"line_{page.number}_{next(numbers)}", whole) for line in lines]
        out.append("</TextBlock>\n")
    return "".join([*out, "</PrintSpace>\n</Page>\n"])


def _alto_line(line: ExportLine, name: str, whole: Box) -> str:
    box = _box(line, whole)
    where = _alto_box(box) if box else ""
    direction = ' BASEDIRECTION="rtl"' if is_rtl(line.text) else ""
    shape = ""
    if line.polygon:
        corners = zip(line.polygon[::2], line.polygon[1::2], strict=True)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        shape = f'<Shape><Polygon POINTS="{points}"/></Shape>'
    score = "" if line.score is None else f' WC="{_share(line.score)}"'
    words = _word_boxes(line, whole) if box else ((word, None) for word in line.text.split())
    strings = (
        f"<String CONTENT={_attribute(word)}{_alto_box(at) if at else ''}{score}/>"
        for word, at in words
    )
    body = "<SP/>".join(strings)
    return f'<TextLine ID="{name}"{where}{direction}>{shape}{body}</TextLine>\n'


def _word_boxes(line: ExportLine, whole: Box) -> Iterator[tuple[str, Box]]:
    quad = quad_of(line.polygon or (), line.text)
    for word, left, right in words_of(line.text):
        yield word, _within(box_of(part_of(quad, left, right)), whole)


def _box(line: ExportLine, whole: Box) -> Box | None:
    if line.polygon is None:
        return None
    return _within(box_of(quad_of(line.polygon, line.text)), whole)


def _within(box: tuple[float, float, float, float], whole: Box) -> Box:
    """The box in whole pixels, clipped to the page."""
    x0, y0, x1, y1 = box
    width, height = whole[2:]
    left, top = min(max(int(x0), 0), width), min(max(int(y0), 0), height)
    right, bottom = min(max(-int(-x1 // 1), left), width), min(max(-int(-y1 // 1), top), height)
    return left, top, right, bottom


def _around(boxes: list[Box]) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _bbox(box: Box) -> str:
    return "bbox {} {} {} {}".format(*box)


def _alto_box(box: Box) -> str:
    x0, y0, x1, y1 = box
    return f' HPOS="{x0}" VPOS="{y0}" WIDTH="{x1 - x0}" HEIGHT="{y1 - y0}"'


def _percent(score: float) -> int:
    return round(100 * min(max(score, 0.0), 1.0))


def _share(score: float) -> str:
    return f"{min(max(score, 0.0), 1.0):.4f}"


def _text(text: str) -> str:
    return escape(xml_text(text))


def _attribute(text: str) -> str:
    return quoteattr(xml_text(text))
