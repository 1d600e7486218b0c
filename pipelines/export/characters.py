"""Control characters in exports. A file name or the text layer of a PDF may hold any of them.

| in | a control character becomes |
|---|---|
| texts of pages, all formats | U+FFFD (the replacement character); tabs and line breaks stay |
| XML: hOCR, ALTO, VOC | U+FFFD, also in names: XML 1.0 does not allow it, not even escaped |
| file names | `_` |
| JSON, CSV | itself, escaped or quoted: a URI there must find its file again |
"""

from __future__ import annotations

import re

REPLACEMENT = "\ufffd"
#: C0 without tab and line breaks, delete, C1 without NEL (a line break), surrogates.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_C1 = re.compile("[\x7f-\x9f]")
_NOT_IN_NAMES = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def clean_text(text: str) -> str:
    """The text of a page without control characters; line breaks, form feeds and tabs stay."""
    return _CONTROL.sub(REPLACEMENT, text)


def xml_text(text: str) -> str:
    """Without characters that XML 1.0 does not allow or discourages. Not escaped."""
    return _NOT_IN_XML.sub(REPLACEMENT, text)


def escaped_json(text: str) -> str:
    """JSON with C1 controls escaped as well, which `json.dumps` leaves in its strings."""
    return _C1.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def safe_name(part: str) -> str:
    """A part of a file name without control characters and line breaks."""
    return _NOT_IN_NAMES.sub("_", part)
