"""The real renderer, but page 2 never ends: native code that keeps the GIL."""

from __future__ import annotations

import re

from pipelines.pages.page import Page, RenderOptions
from pipelines.pages.render import count_pages
from pipelines.pages.render import render_page as render_really

__all__ = ["count_pages", "render_page"]


def render_page(data: bytes, page: int, options: RenderOptions) -> Page:
    if page == 2:
        print("noise on stdout")
        re.match(r"(a+)+$", "a" * 64 + "b")  # 2^64 ways to fail
    return render_really(data, page, options)
