"""The real renderer, but page 2 meets a defect of ours."""

from __future__ import annotations

from pipelines.pages.page import Page, RenderOptions
from pipelines.pages.render import count_pages
from pipelines.pages.render import render_page as render_really

__all__ = ["count_pages", "render_page"]


def render_page(data: bytes, page: int, options: RenderOptions) -> Page:
    if page == 2:
        raise ZeroDivisionError("a defect of ours")
    return render_really(data, page, options)
