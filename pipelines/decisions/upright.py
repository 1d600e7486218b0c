"""Pure steps of `ocr_backfill` that turn a page's size and picture as its reader turned it.

Readers say by `rotation` how they turned the page. The finished row and the stages behind the
readers see the upright page: its `width`, `height` and `image` fit the polygons.
"""

from __future__ import annotations

import pyarrow as pa

from actors.contract import Settings, appended
from actors.failures import ItemFailure
from actors.images.turning import turned_file, turned_size
from pipelines.flow import Flow, step

_ROTATION = ("rotation", pa.int16())


def turned_upright(flow: Flow, *, picture: bool) -> Flow:
    """`flow` with the size, and if wanted the `picture`, of the page as its reader turned it."""
    flow = flow.rename(width="fetched_width", height="fetched_height")
    flow = flow.map(upright_size, Settings()).drop("fetched_width", "fetched_height")
    if not picture:
        return flow
    flow = flow.rename(image="fetched_image").map(upright_image, Settings())
    return flow.drop("fetched_image")


@step(
    reads=pa.schema([("fetched_width", pa.int32()), ("fetched_height", pa.int32()), _ROTATION]),
    writes=pa.schema([("width", pa.int32()), ("height", pa.int32())]),
)
def upright_size(rows: pa.Table, _: Settings) -> pa.Table:
    """Write the size of the upright page, pixels; null if it was not fetched."""
    pages = rows.select(upright_size.reads.names).to_pylist()
    sizes = [
        turned_size((page["fetched_width"], page["fetched_height"]), page["rotation"] or 0)
        for page in pages
    ]
    values = [{"width": width, "height": height} for width, height in sizes]
    return appended(rows, upright_size.writes, values)


@step(
    reads=pa.schema([("fetched_image", pa.binary()), _ROTATION]),
    writes=pa.schema([("image", pa.binary())]),
)
def upright_image(rows: pa.Table, _: Settings) -> pa.Table:
    """Write the picture of the upright page. Only pages that were turned are encoded again."""
    turns = rows["rotation"].to_pylist()
    if not any(turns):
        return rows.append_column("image", rows["fetched_image"])
    files = rows["fetched_image"].to_pylist()
    images = [_turned(file, turn or 0) for file, turn in zip(files, turns, strict=True)]
    return rows.append_column("image", pa.array(images, pa.binary()))


def _turned(file: bytes | None, degrees: int) -> bytes | None:
    """The file; None if it cannot be turned, as if the page had no picture."""
    try:
        return turned_file(file, degrees) if file else file
    except ItemFailure:  # the reader has decoded it, so this is a fault of the encoder
        return None
