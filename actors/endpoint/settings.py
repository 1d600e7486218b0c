"""Settings of a model behind HTTP: URL, retries and budget."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from actors.contract import Settings
from actors.endpoint.budget import Budget
from actors.endpoint.loops import LoopRules
from actors.failures import SetupError

#: Endings of private host names. Names without a dot are private, too.
_INSIDE = (".local", ".localhost", ".internal", ".svc")
#: Upper case only, to catch an API key that was pasted instead of a variable's name.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


class EndpointConfig(Settings):
    """A model behind an OpenAI-compatible API."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {
            *("base_url", "api_key_env", "allow_plain_http", "concurrency", "budget"),
            *("timeout_s", "attempts", "first_wait_s", "longest_wait_s"),
            *("give_up_after", "pause_s"),
        }
    )

    base_url: str = Field(description="URL of an OpenAI-compatible API, e.g. http://host/v1")
    model: str = Field(min_length=1, description="name of the model at this API")
    api_key_env: str | None = Field(
        None, description="environment variable of the workers with the API key; null: no key"
    )
    allow_plain_http: bool = Field(
        False, description="allow http to hosts outside private networks"
    )
    max_tokens: int = Field(
        4096, ge=1, description="maximum tokens of an answer; longer ones are cut (VLM_TRUNCATED)"
    )
    temperature: float = Field(
        0.0, ge=0, description="sampling temperature; 0: always the most likely token"
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict,
        description="additional keys of the request; a null value removes a default key",
    )
    loop: LoopRules = LoopRules()
    timeout_s: float = Field(
        120.0, gt=0, description="timeout of one request, until the complete answer"
    )
    attempts: int = Field(
        4, ge=1, description="attempts per request, after 408, 409, 429, 5xx or no answer"
    )
    first_wait_s: float = Field(
        1.0,
        ge=0,
        description="seconds before the second attempt; doubled for each later one, with jitter",
    )
    longest_wait_s: float = Field(
        60.0, ge=0, description="maximum seconds between attempts; also limits Retry-After"
    )
    concurrency: int = Field(8, ge=1, description="concurrent requests per worker")
    give_up_after: int = Field(
        5,
        ge=1,
        description="failed requests in a row after which the worker sends none for pause_s",
    )
    pause_s: float = Field(
        60.0,
        ge=0,
        description="seconds of this pause; then a single request tests the endpoint. Also between "
        "two tests of an endpoint that refuses everybody, before the run stops",
    )
    budget: Budget | None = None

    @model_validator(mode="after")
    def _may_be_used(self) -> Self:
        # A field validator's error would print the value, which may contain a key.
        fault = self._fault()
        if fault:
            raise ValueError(fault)
        return self

    def _fault(self) -> str | None:
        url = urlsplit(self.base_url)
        ours = {"model", "messages", "stream", "n"} & self.extra_body.keys()
        if url.scheme not in ("http", "https") or not url.hostname:
            return "base_url is not an http or https URL"
        if url.username is not None or url.query or url.fragment:
            return (
                "base_url may contain only host and path; pass the API key in the environment "
                "variable named by api_key_env"
            )
        if url.scheme == "http" and not self.allow_plain_http and not self.is_near():
            return (
                "base_url is plain http to a host outside private networks, so others could read "
                "pages and API key; use https, or set allow_plain_http"
            )
        if self.api_key_env is not None and not _VARIABLE.fullmatch(self.api_key_env):
            return (
                "api_key_env must be the name of an environment variable (A-Z, 0-9, _), not the "
                "API key"
            )
        return f"extra_body must not contain {', '.join(sorted(ours))}" if ours else None

    def is_near(self) -> bool:
        """Whether the host is local or private, judged by its name or address."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_private  # true for loopback, too
        except ValueError:
            return "." not in host or host.endswith(_INSIDE)

    def key(self) -> str | None:
        """The API key from the environment, or None. Raises SetupError."""
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise SetupError(
                f"the environment variable {self.api_key_env} is not set in this worker",
                "set it where `nightjar run` or the Ray node starts, or set api_key_env: null",
            )
        if not (key.isascii() and key.isprintable()):
            raise SetupError(
                f"the environment variable {self.api_key_env} is not a valid API key: it contains "
                "line breaks or other characters that HTTP headers do not allow",
                "set it to the API key without line breaks",
            )
        return key
