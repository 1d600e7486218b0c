"""The real renderer, but page 2 is a segmentation fault."""

from __future__ import annotations

import ctypes

from pipelines.pages.page import Page, RenderOptions
from pipelines.pages.render import count_pages
from pipelines.pages.render import render_page as render_really

__all__ = ["count_pages", "render_page"]


def render_page(data: bytes, page: int, options: RenderOptions) -> Page:
    if page == 2:
        ctypes.string_at(0)
    return render_really(data, page, options)
