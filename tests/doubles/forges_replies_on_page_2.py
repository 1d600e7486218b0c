"""The real renderer, but page 2 takes over the process and forges its replies."""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys

from pipelines.pages.page import Page, RenderOptions
from pipelines.pages.render import count_pages
from pipelines.pages.render import render_page as render_really

__all__ = ["count_pages", "render_page"]

FORGERIES = {
    b"pickle": pickle.dumps(ValueError("unpickled")),
    b"types": json.dumps({"page": {"width": "wide", "height": [], "native_lines": 7}}).encode(),
    b"nan": b'{"page": {"width": 9, "height": 9, "native_lines": [{"text": "x", "polygon":'
    b" [NaN, 0, 0, 0, 0, 0, 0, 0]}]}}",
}


def render_page(data: bytes, page: int, options: RenderOptions) -> Page:
    if page == 2:
        channel = json.loads(sys.argv[1])[1]
        for name, forgery in FORGERIES.items():
            if name in data:
                os.write(channel, struct.pack(">QQ", len(forgery), 0) + forgery)
        os.write(channel, struct.pack(">QQ", 2**62, 2**62))
    return render_really(data, page, options)
