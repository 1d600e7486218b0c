"""Hostile pages, whose failures are their own, and a model that breaks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from chaos.fault import Fault, Record, failures, worker_deaths


class PoisonPage(Fault):
    """A page on which the native code of a model crashes."""

    name = "page that kills its process"

    def changes(self) -> dict[str, Any]:
        return {"reader": {"kills_process": f"page_{self.pages // 2:05d}.png"}}

    def told(self, record: Record) -> bool:
        return failures(record) == {"ENGINE_CRASH": 1} and worker_deaths(record) >= 2


class HangingPage(Fault):
    """A page whose decoding never ends, in a loop that holds the GIL."""

    name = "page that hangs"

    @contextlib.contextmanager
    def world(self) -> Iterator[dict[str, Any]]:
        from bad_files import pdf_with_text

        with super().world() as changes:
            pages = ["page"] * 3
            pdf_with_text(self.folder / "source", pages, "hangs.pdf")
            self.pages += len(pages)
            fetch = {
                "renderer": "doubles.hangs_on_page_2",
                "limits": {"wall_s": 3},
                "native_text": {"enabled": False},
            }
            yield changes | {"fetch": fetch}

    def told(self, record: Record) -> bool:
        return failures(record) == {"RENDER_TIMEOUT": 1}


class BrokenWorker(Fault):
    """A worker whose device is broken from one forward on: every later forward raises."""

    name = "worker that raises on everything"

    def changes(self) -> dict[str, Any]:
        return {"reader": {"breaks_once": str(self.folder / "broken")}}

    def told(self, record: Record) -> bool:
        hit = (self.folder / "broken").exists()
        return hit and record["codes"] == [0] and not failures(record)
