"""The closed list of what can be wrong with one item, and the Arrow type that carries it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TypedDict

import pyarrow as pa


class FailureKind(StrEnum):
    """Names the condition, not the place where it was noticed."""

    # the object
    OBJECT_MISSING = "OBJECT_MISSING"  # listed by the plan, gone now
    OBJECT_CHANGED = "OBJECT_CHANGED"  # other bytes than the plan saw (etag, size or mtime)
    PERMISSION_DENIED = "PERMISSION_DENIED"
    STORAGE_ERROR = "STORAGE_ERROR"  # retries exhausted
    EMPTY_FILE = "EMPTY_FILE"  # zero bytes
    TOO_MANY_BYTES = "TOO_MANY_BYTES"  # file or archive member above the limit (zip bombs)
    CORRUPT_ARCHIVE = "CORRUPT_ARCHIVE"
    UNSUPPORTED_KIND = "UNSUPPORTED_KIND"  # content is no document or image that we read
    # its content
    CORRUPT_IMAGE = "CORRUPT_IMAGE"  # undecodable or truncated
    CORRUPT_PDF = "CORRUPT_PDF"
    ENCRYPTED_PDF = "ENCRYPTED_PDF"  # no password, or a wrong one
    EMPTY_DOCUMENT = "EMPTY_DOCUMENT"  # zero pages
    PAGE_MISSING = "PAGE_MISSING"  # the document has fewer pages than the plan counted
    TOO_MANY_PIXELS = "TOO_MANY_PIXELS"
    # what happened while working on it
    RENDER_TIMEOUT = "RENDER_TIMEOUT"  # killed at the wall limit
    RENDER_CRASH = "RENDER_CRASH"  # native code killed its process
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    ENGINE_FAULT = "ENGINE_FAULT"  # unknown exception inside a model, traceback in the message
    ENGINE_CRASH = "ENGINE_CRASH"  # this item alone killed its worker process, twice
    # asking a vision-language model
    VLM_UNREACHABLE = "VLM_UNREACHABLE"  # no connection, 408, 409, 429 or 5xx, retries exhausted
    VLM_TIMEOUT = "VLM_TIMEOUT"  # connected, but no whole answer in time, retries exhausted
    VLM_REFUSED = "VLM_REFUSED"  # any other 3xx or 4xx, a content filter, a refusal of the model
    VLM_TRUNCATED = "VLM_TRUNCATED"  # the answer was cut at max_tokens
    VLM_LOOP = "VLM_LOOP"  # the answer repeats itself
    VLM_BUDGET = "VLM_BUDGET"  # the run may spend no more
    VLM_GARBAGE = "VLM_GARBAGE"  # no valid completion, or a text that cannot stand there


FAILURE = pa.struct([("kind", pa.string()), ("message", pa.string())])


class FailureValue(TypedDict):
    """A value of FAILURE. `kind`: the value of a FailureKind."""

    kind: str
    message: str


def failure(kind: FailureKind, message: str) -> FailureValue:
    """A value of FAILURE. Messages are cut at 2,000 characters (tracebacks)."""
    return {"kind": kind.value, "message": message[:2000]}


class ItemFailure(Exception):
    """Carries a known fault of one item from where it is seen to the row; never leaves a stage."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(f"{kind.value}: {message}")
        self.kind = kind
        self.message = message

    def as_value(self) -> FailureValue:
        """The FAILURE struct for the row."""
        return failure(self.kind, self.message)


def parted(answers: Sequence[Any]) -> tuple[list[Any], list[FailureValue | None]]:
    """Answers, some of them ItemFailures, as two columns: (values, FAILURE values), else null."""
    values = [None if isinstance(one, ItemFailure) else one for one in answers]
    return values, [one.as_value() if isinstance(one, ItemFailure) else None for one in answers]


class SetupError(Exception):
    """A model cannot start: weights, device or engine missing. Stops the run, with a remedy."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[SetupError], tuple[str, str]]:
        return type(self), (self.message, self.remedy)  # shipped between processes by pickle
