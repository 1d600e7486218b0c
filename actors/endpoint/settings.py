"""Where a model is asked over HTTP, how patiently, and at what cost."""

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

#: Names without a dot and these endings are resolved inside a machine room, never on the internet.
_INSIDE = (".local", ".localhost", ".internal", ".svc")
#: Upper case alone: a key that was pasted where its variable's name belongs mostly fails here.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


class EndpointConfig(Settings):
    """An OpenAI-compatible API: which model is asked, how, and at what cost."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {
            *("base_url", "api_key_env", "allow_plain_http", "concurrency", "budget"),
            *("timeout_s", "attempts", "first_wait_s", "longest_wait_s"),
            *("give_up_after", "pause_s"),
        }
    )

    base_url: str = Field(
        description="URL of an OpenAI-compatible API, for instance http://host/v1"
    )
    model: str = Field(min_length=1, description="name of the model at that API")
    api_key_env: str | None = Field(
        None, description="environment variable of the workers that holds the key; null: no key"
    )
    allow_plain_http: bool = Field(
        False, description="allow http to hosts outside of a private network"
    )
    max_tokens: int = Field(
        4096, ge=1, description="longest answer; a longer one is cut off (VLM_TRUNCATED)"
    )
    temperature: float = Field(0.0, ge=0, description="of sampling; 0: the most likely answer")
    extra_body: dict[str, Any] = Field(
        default_factory=dict,
        description="more keys of the request; a null value removes one of ours",
    )
    loop: LoopRules = LoopRules()
    timeout_s: float = Field(
        120.0, gt=0, description="for one request, from sending to the whole answer"
    )
    attempts: int = Field(
        4, ge=1, description="tries per request, on 408, 409, 429, 5xx or no answer"
    )
    first_wait_s: float = Field(
        1.0, ge=0, description="wait before the second try; then twice as long each, with jitter"
    )
    longest_wait_s: float = Field(
        60.0, ge=0, description="longest wait between tries, whatever Retry-After asks for"
    )
    concurrency: int = Field(8, ge=1, description="requests under way at once, of one worker")
    give_up_after: int = Field(
        5,
        ge=1,
        description="requests in a row without an answer, after which none is sent for pause_s",
    )
    pause_s: float = Field(
        60.0,
        ge=0,
        description="pause after that; then one request tries whether the endpoint is back",
    )
    budget: Budget | None = None

    @model_validator(mode="after")
    def _may_be_used(self) -> Self:
        # A validator of the field would have the value printed, and a key may stand in it.
        fault = self._fault()
        if fault:
            raise ValueError(fault)
        return self

    def _fault(self) -> str | None:
        url = urlsplit(self.base_url)
        ours = {"model", "messages", "stream", "n"} & self.extra_body.keys()
        if url.scheme not in ("http", "https") or not url.hostname:
            return "base_url is no http or https URL"
        if url.username is not None or url.query or url.fragment:
            return "base_url holds more than host and path: name the key by api_key_env"
        if url.scheme == "http" and not self.allow_plain_http and not self.is_near():
            return (
                "base_url is plain http to a host that may be anywhere: pages and key could be "
                "read on the way; use https, or set allow_plain_http"
            )
        if self.api_key_env is not None and not _VARIABLE.fullmatch(self.api_key_env):
            return "api_key_env is the name of a variable (A-Z, 0-9, _), never the key itself"
        return f"extra_body may not hold {', '.join(sorted(ours))}" if ours else None

    def is_near(self) -> bool:
        """Whether the host is this machine or on a private network, by its name or address."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_private  # loopback too
        except ValueError:
            return "." not in host or host.endswith(_INSIDE)

    def key(self) -> str | None:
        """The key, from the environment. Raises SetupError."""
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise SetupError(
                f"the environment variable {self.api_key_env} is not set in this worker",
                "set it where `nightjar run` or the Ray node starts, or api_key_env: null",
            )
        if not (key.isascii() and key.isprintable()):
            raise SetupError(
                f"the environment variable {self.api_key_env} holds no key: line breaks or other "
                "characters that no HTTP header may have",
                "set it again",
            )
        return key
