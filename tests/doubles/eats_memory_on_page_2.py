"""The real renderer, but page 2 takes all the memory that it gets."""

from __future__ import annotations

from pipelines.pages.page import Page, RenderOptions
from pipelines.pages.render import count_pages
from pipelines.pages.render import render_page as render_really

__all__ = ["count_pages", "render_page"]


def render_page(data: bytes, page: int, options: RenderOptions) -> Page:
    hoard = []
    while page == 2:
        hoard.append(b"\1" * 2**24)  # written to, so that it is resident and not only promised
    return render_really(data, page, options)
