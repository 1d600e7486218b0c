"""Models whose device refuses every later call, as CUDA does after an illegal memory access."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NoReturn

import pyarrow as pa
import torch
from doubles.counting_reader import CountingReader, ReaderConfig

from actors.contract import appended
from actors.failures import FailureKind, failure


class SpoilsItsDevice(CountingReader):
    """The poison row spoils the device of its process."""

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__(config)
        self._spoiled = False

    def meet(self, row: int) -> None:
        self._spoiled |= row == self.config.poison_row
        if self._spoiled:
            self.refuse()

    def refuse(self) -> NoReturn:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")


class KillsItsContext(SpoilsItsDevice):
    """The same, in the words of CUDA and with the class of torch. `met`: rows of all processes."""

    met: ClassVar[list[int]] = []

    def meet(self, row: int) -> None:
        self.met.append(row)
        super().meet(row)

    def refuse(self) -> NoReturn:
        raise torch.AcceleratorError(
            "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously "
            "reported at some other API call, so the stacktrace below might be incorrect."
        )


class SpoilsBesideABrokenFile(SpoilsItsDevice):
    """The row after the poison row is a broken file, which the device never sees."""

    def __call__(self, rows: pa.Table) -> pa.Table:
        broken = failure(FailureKind.CORRUPT_IMAGE, "cut off")
        values: list[dict[str, Any]] = []
        for row in rows["row_id"].to_pylist():
            if row == self.config.poison_row + 1:
                values.append({"read_failure": broken})
            else:
                self.meet(row)
                values.append({"length": 1})
        return appended(rows, self.writes, values)


class SpoiledOnce(SpoilsItsDevice):
    """The poison row spoils only the first device that meets it: the row is not the cause."""

    def meet(self, row: int) -> None:
        met = Path(self.config.flag_dir, "met")
        if row == self.config.poison_row and not met.exists():
            met.touch()
            self._spoiled = True
        if self._spoiled:
            self.refuse()


class ReadsNothing(SpoilsItsDevice):
    """From the poison row on no device works any more, a new one neither."""

    gone = False

    def meet(self, row: int) -> None:
        type(self).gone |= row >= self.config.poison_row
        if type(self).gone:
            raise RuntimeError("CUDA error: no kernel image is available")


class RaisesFromARow(CountingReader):
    """Raises on the poison row and all later ones; the device is fine."""

    def meet(self, row: int) -> None:
        if row >= self.config.poison_row:
            raise ZeroDivisionError("the model met something it was never shown")
