"""A renderer that never finishes parsing a document."""

from __future__ import annotations

import time

from pipelines.pages.page import RenderOptions
from pipelines.pages.render import render_page

__all__ = ["count_pages", "render_page"]


def count_pages(data: bytes, options: RenderOptions) -> int:
    time.sleep(3600)
    return 1
