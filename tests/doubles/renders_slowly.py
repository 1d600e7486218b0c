"""The real renderer, but each page takes 0.1 s more."""

from __future__ import annotations

import time

from pipelines.pages.page import Page, RenderOptions
from pipelines.pages.render import count_pages
from pipelines.pages.render import render_page as render_really

__all__ = ["count_pages", "render_page"]


def render_page(data: bytes, page: int, options: RenderOptions) -> Page:
    time.sleep(0.1)
    return render_really(data, page, options)
