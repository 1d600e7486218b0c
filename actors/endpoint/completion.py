"""Parses the answer of `/chat/completions` into a text or a failure. Its bytes are untrusted."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import Any

from actors.failures import FailureKind, ItemFailure

#: Larger token counts are invalid, and would overflow the column.
_MOST_TOKENS = 10_000_000
#: Maximum characters of the endpoint's error in our message.
_QUOTED = 300
_SURROGATES = re.compile("[\ud800-\udfff]")  # JSON allows lone surrogates, UTF-8 does not
_FENCE = re.compile(r"```[\w-]*\n(.*?)\n?```", re.DOTALL)


@dataclass(frozen=True)
class Completion:
    """A parsed answer. Counts are None if it does not give them.

    `text` may be set together with a `fault` (VLM_TRUNCATED, VLM_REFUSED, VLM_GARBAGE), for review.
    """

    text: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    probability: float | None = None  #: mean over its tokens, 0..1; None if a token lacks it
    fault: ItemFailure | None = None


def read_completion(body: bytes, max_tokens: int) -> Completion:
    """The first choice of a completion. Never raises.

    Only the finish_reason "stop" means a complete text. With null or an unknown value the answer
    may be truncated.
    """
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as error:
        return Completion(
            fault=_garbage(f"the answer is not JSON: {type(error).__name__}: {error}")
        )
    if not isinstance(raw, dict):
        return Completion(fault=_garbage("the answer is not a JSON object"))
    usage = raw["usage"] if isinstance(raw.get("usage"), dict) else {}
    about = Completion(
        model=clean(raw["model"])[:200] if isinstance(raw.get("model"), str) else None,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        probability=_probability(raw),
    )
    text, fault = _choice(raw)
    most = 16 * max_tokens  # no tokenizer has more than 16 characters per token of running text
    if text is not None and len(text) > most:
        fault = _garbage(
            f"the answer has {len(text)} characters, too many for max_tokens = {max_tokens}"
        )
        text = text[:most]
    if fault is None and (about.completion_tokens or 0) >= max_tokens:
        fault = _truncated(
            f"the answer uses all max_tokens = {max_tokens} tokens, although finish_reason is stop"
        )
    return replace(about, text=text, fault=fault)


def _choice(raw: dict[str, Any]) -> tuple[str | None, ItemFailure | None]:
    choices = raw.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        said = f": {quoted(raw['error'])}" if "error" in raw else ""
        return None, _garbage(f"the answer has no choice with a message{said}")
    text = _text(message.get("content"))
    reason = choice.get("finish_reason")
    if message.get("refusal"):
        return text or None, _refused(f"the model refused: {quoted(message['refusal'])}")
    if reason == "content_filter":
        return text or None, _refused("the endpoint's content filter stopped the answer")
    if reason == "length":
        return text, _truncated("the answer was cut off: finish_reason is length")
    if text is None:
        return None, _garbage("the message's content is not text")
    if reason != "stop":
        return text, _garbage(f"unknown finish_reason: {quoted(reason)}")
    return text, None


def _probability(raw: dict[str, Any]) -> float | None:
    """Mean of exp(logprob) over the tokens of the first choice; None unless all tokens have one."""
    try:
        logs = [token["logprob"] for token in raw["choices"][0]["logprobs"]["content"]]
        mean = sum(map(math.exp, logs)) / len(logs)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return None
    return mean if 0 <= mean <= 1 else None  # None for NaN, too


def _text(content: Any) -> str | None:
    """Text of a message: a string or a list of text parts; null means "". None: other types."""
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    return plain(content) if isinstance(content, str) else None


def plain(text: str) -> str:
    """`text` without surrounding white space and without a code fence around a transcript."""
    text = clean(text).replace("\r\n", "\n").strip()
    fenced = _FENCE.fullmatch(text)
    return fenced[1].strip() if fenced else text


def clean(text: str) -> str:
    """`text` with lone surrogates replaced, so that UTF-8 can encode it."""
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


def quoted(said: Any) -> str:
    """The endpoint's value for our message: its text or JSON, at most 300 characters."""
    if isinstance(said, dict):
        said = said.get("message", said)
    text = said if isinstance(said, str) else json.dumps(said)
    return clean(text)[:_QUOTED]


def error_text(body: bytes) -> str:
    """The message in an error's body: its `error` or `detail`, else its first characters."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        return quoted(body[:_QUOTED].decode("utf-8", "replace"))
    if isinstance(raw, dict):
        raw = raw.get("error") or raw.get("detail") or raw
    return quoted(raw)


def _count(value: Any) -> int | None:
    valid = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if valid else None


def _garbage(message: str) -> ItemFailure:
    return ItemFailure(FailureKind.VLM_GARBAGE, message)


def _refused(message: str) -> ItemFailure:
    return ItemFailure(FailureKind.VLM_REFUSED, message)


def _truncated(message: str) -> ItemFailure:
    return ItemFailure(FailureKind.VLM_TRUNCATED, message)
