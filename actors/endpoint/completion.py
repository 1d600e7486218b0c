"""The answer of `/chat/completions`: bytes from somebody else's server into a text or a failure."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import Any

from actors.failures import FailureKind, ItemFailure

#: Tokens that no answer has; a larger count is nonsense, and would not fit the column.
_MOST_TOKENS = 10_000_000
#: Characters of a foreign message that go into ours.
_QUOTED = 300
_SURROGATES = re.compile("[\ud800-\udfff]")  # JSON may hold halves of a pair, UTF-8 may not
_FENCE = re.compile(r"```[\w-]*\n(.*?)\n?```", re.DOTALL)


@dataclass(frozen=True)
class Completion:
    """What an answer says. Counts are None where it does not say them.

    `text` may stand beside a `fault` (VLM_TRUNCATED, VLM_REFUSED, VLM_GARBAGE): it is for review.
    """

    text: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    probability: float | None = None  #: mean over its tokens, 0..1; None where one has none
    fault: ItemFailure | None = None


def read_completion(body: bytes, max_tokens: int) -> Completion:
    """The first choice of a completion. Never raises.

    Only a finish_reason of "stop" vouches for a whole text: a null, or a word not known here, may
    hide a cut answer.
    """
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as error:
        return Completion(fault=_garbage(f"no JSON: {type(error).__name__}: {error}"))
    if not isinstance(raw, dict):
        return Completion(fault=_garbage("the answer is no JSON object"))
    usage = raw["usage"] if isinstance(raw.get("usage"), dict) else {}
    about = Completion(
        model=clean(raw["model"])[:200] if isinstance(raw.get("model"), str) else None,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        probability=_probability(raw),
    )
    text, fault = _choice(raw)
    most = 16 * max_tokens  # characters: no tokenizer puts more into a token of running text
    if text is not None and len(text) > most:
        fault = _garbage(f"{len(text)} characters, although max_tokens is {max_tokens}")
        text = text[:most]
    if fault is None and (about.completion_tokens or 0) >= max_tokens:
        fault = _truncated(f"it has all {max_tokens} tokens, but says that it stopped by itself")
    return replace(about, text=text, fault=fault)


def _choice(raw: dict[str, Any]) -> tuple[str | None, ItemFailure | None]:
    choices = raw.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        said = f": {quoted(raw['error'])}" if "error" in raw else ""
        return None, _garbage(f"no choice with a message in the answer{said}")
    text = _text(message.get("content"))
    reason = choice.get("finish_reason")
    if message.get("refusal"):
        return text or None, _refused(f"the model refuses: {quoted(message['refusal'])}")
    if reason == "content_filter":
        return text or None, _refused("stopped by the endpoint's content filter")
    if reason == "length":
        return text, _truncated("finish_reason is length")
    if text is None:
        return None, _garbage("the message's content is no text")
    if reason != "stop":
        return text, _garbage(f"finish_reason is {quoted(reason)}")
    return text, None


def _probability(raw: dict[str, Any]) -> float | None:
    """Mean of exp(logprob) over the tokens of the first choice; None unless every token has one:
    what is missing is unknown, never sure."""
    try:
        logs = [token["logprob"] for token in raw["choices"][0]["logprobs"]["content"]]
        mean = sum(map(math.exp, logs)) / len(logs)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return None
    return mean if 0 <= mean <= 1 else None  # NaN is neither


def _text(content: Any) -> str | None:
    """Text of a message: a string, or a list of text parts; null is no text. None: neither."""
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    return plain(content) if isinstance(content, str) else None


def plain(text: str) -> str:
    """Without the code fence that models put around a transcript, and white space around it."""
    text = clean(text).replace("\r\n", "\n").strip()
    fenced = _FENCE.fullmatch(text)
    return fenced[1].strip() if fenced else text


def clean(text: str) -> str:
    """`text` that UTF-8 can hold."""
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


def quoted(said: Any) -> str:
    """A foreign value for our message: its text or JSON, at most 300 characters."""
    if isinstance(said, dict):
        said = said.get("message", said)
    text = said if isinstance(said, str) else json.dumps(said)
    return clean(text)[:_QUOTED]


def error_text(body: bytes) -> str:
    """What a body beside an error status says: its `error` or `detail`, else its beginning."""
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
