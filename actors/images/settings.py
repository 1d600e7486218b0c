"""Settings that models share which decode images. No heavy imports: the driver reads them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

DecodeThreads = Annotated[
    int, Field(ge=1, description="threads that decode images while the model runs")
]
ReducedJpeg = Annotated[
    bool,
    Field(
        description="decode JPEGs at 1/2, 1/4 or 1/8 of their sides, if that is at least the size "
        "of the model's input: faster, and results change slightly"
    ),
]
NvJpeg = Annotated[
    bool,
    Field(
        description="decode JPEGs on the GPU with torchvision's nvJPEG, whose pixels differ by "
        "rounding; ignored on a CPU, not measured yet"
    ),
]
