"""The closed list of failures of one item, and their Arrow type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TypedDict

import pyarrow as pa


class FailureKind(StrEnum):
    """The cause of a failure, independent of the stage that detects it."""

    # the object in storage
    OBJECT_MISSING = "OBJECT_MISSING"  # the plan lists it, but it no longer exists
    OBJECT_CHANGED = "OBJECT_CHANGED"  # changed since the plan (etag, size or mtime)
    PERMISSION_DENIED = "PERMISSION_DENIED"
    STORAGE_ERROR = "STORAGE_ERROR"  # still failing after all retries
    EMPTY_FILE = "EMPTY_FILE"  # zero bytes
    TOO_MANY_BYTES = "TOO_MANY_BYTES"  # file or archive member above the limit (zip bombs)
    TOO_MANY_MEMBERS = "TOO_MANY_MEMBERS"  # an archive with more members than the limit
    CORRUPT_ARCHIVE = "CORRUPT_ARCHIVE"
    UNSUPPORTED_KIND = "UNSUPPORTED_KIND"  # not a supported document or image format
    # the content of the file
    CORRUPT_IMAGE = "CORRUPT_IMAGE"  # undecodable or truncated
    CORRUPT_PDF = "CORRUPT_PDF"
    ENCRYPTED_PDF = "ENCRYPTED_PDF"  # the password is missing or wrong
    EMPTY_DOCUMENT = "EMPTY_DOCUMENT"  # zero pages
    PAGE_MISSING = "PAGE_MISSING"  # the document has fewer pages than the plan counted
    TOO_MANY_PIXELS = "TOO_MANY_PIXELS"
    # rendering and inference
    RENDER_TIMEOUT = "RENDER_TIMEOUT"  # rendering was killed at its time limit
    RENDER_CRASH = "RENDER_CRASH"  # native code crashed the rendering process
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    ENGINE_FAULT = "ENGINE_FAULT"  # unexpected exception in a model; the message is its traceback
    ENGINE_CRASH = "ENGINE_CRASH"  # this item alone crashed its worker process twice
    # requests to a vision-language model
    VLM_UNREACHABLE = "VLM_UNREACHABLE"  # no connection, 408, 409, 429 or 5xx after all retries
    VLM_TIMEOUT = "VLM_TIMEOUT"  # connected, but no complete answer in time after all retries
    VLM_REFUSED = "VLM_REFUSED"  # any other 3xx or 4xx, a content filter, a refusal by the model
    VLM_TRUNCATED = "VLM_TRUNCATED"  # the answer was cut off at max_tokens
    VLM_LOOP = "VLM_LOOP"  # the answer repeats itself
    VLM_BUDGET = "VLM_BUDGET"  # the run's budget is spent
    VLM_GARBAGE = "VLM_GARBAGE"  # no valid completion, or implausible text


#: Kinds that the environment can cause for any row at that moment: the store, a device, a model.
#: One alone says nothing; many together stop the run (`limits.same_failure`). The other kinds are
#: decided by the bytes of a file (also RENDER_CRASH and RENDER_TIMEOUT: a folder of broken PDFs is
#: no fault of the environment), by the plan (OBJECT_CHANGED: trying again cannot help), or by the
#: answer of a model to one page. VLM_UNREACHABLE and VLM_TIMEOUT do not stop a run: the first
#: reading is kept, and the endpoint comes back by itself.
ENVIRONMENTAL = frozenset(
    {
        FailureKind.OBJECT_MISSING,
        FailureKind.PERMISSION_DENIED,
        FailureKind.STORAGE_ERROR,
        FailureKind.OUT_OF_MEMORY,
        FailureKind.ENGINE_FAULT,
        FailureKind.ENGINE_CRASH,
    }
)

FAILURE = pa.struct([("kind", pa.string()), ("message", pa.string())])


class FailureValue(TypedDict):
    """A value of FAILURE. `kind`: the value of a FailureKind."""

    kind: str
    message: str


#: Parts of a message that differ between two runs over one file: addresses of objects and threads
#: (`<_io.BytesIO object at 0x7f..>`), and the clock in OpenCV's messages (`[ WARN:0@0.123]`). A
#: version of an object on Azure (`0x8DD1E1EFF6F1E25`) is no address.
_ADDRESS = re.compile(r"(?: at 0x[0-9a-fA-F]{6,}| 0x(?=[0-9]*[a-f])[0-9a-f]{6,})\b")
_CLOCK = re.compile(r"(\[ ?[A-Z]+):\d+@\d+\.\d+\]")


def steady(message: str) -> str:
    """`message` without addresses and clocks: two runs over one file write the same bytes."""
    return _CLOCK.sub(r"\1]", _ADDRESS.sub("", message))


def said(error: BaseException) -> str:
    """An exception in words: its type and its message."""
    return steady(f"{type(error).__name__}: {error}")


def failure(kind: FailureKind, message: str) -> FailureValue:
    """A value of FAILURE. Messages are `steady`, and cut at 2,000 characters (tracebacks)."""
    return {"kind": kind.value, "message": steady(message)[:2000]}


class ItemFailure(Exception):
    """A known failure of one item. The stage that raises it catches it and writes it to the row."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        message = steady(message)
        super().__init__(f"{kind.value}: {message}")
        self.kind = kind
        self.message = message

    def as_value(self) -> FailureValue:
        """The FAILURE struct for the row."""
        return failure(self.kind, self.message)


def parted(answers: Sequence[Any]) -> tuple[list[Any], list[FailureValue | None]]:
    """Split answers into two columns, values and FAILURE values; each answer is null in one."""
    values = [None if isinstance(one, ItemFailure) else one for one in answers]
    return values, [one.as_value() if isinstance(one, ItemFailure) else None for one in answers]


class SetupError(Exception):
    """A model cannot start, e.g. without weights, device or engine. Stops the run.

    `remedy`: what the user can do about it.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[SetupError], tuple[str, str]]:
        return type(self), (self.message, self.remedy)  # pickle sends it between processes
