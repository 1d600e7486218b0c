"""The config of Surya, and whether its server is there."""

from __future__ import annotations

import os
from typing import ClassVar, Self

from pydantic import Field, ValidationError, model_validator

from actors.contract import Settings
from actors.endpoint.loops import LoopRules
from actors.endpoint.settings import EndpointConfig
from actors.failures import SetupError

#: Where the server is, for surya-ocr itself as well.
URL_VARIABLE = "SURYA_INFERENCE_URL"


class SuryaConfig(Settings):
    """Which server is asked, and how."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {
            *("base_url", "api_key_env", "allow_plain_http", "concurrency"),
            *("timeout_s", "attempts", "first_wait_s", "longest_wait_s"),
            *("give_up_after", "pause_s"),
        }
    )

    base_url: str | None = Field(
        None,
        description="URL of Surya's server, for instance http://host:8000/v1; null: the variable "
        f"{URL_VARIABLE} of the workers",
    )
    model: str = Field(
        "datalab-to/surya-ocr-2", min_length=1, description="name under which it is served"
    )
    api_key_env: str | None = Field(
        None, description="environment variable of the workers that holds the key; null: no key"
    )
    allow_plain_http: bool = Field(
        False, description="allow http to hosts outside of a private network"
    )
    layout_side: int = Field(
        1123,
        ge=64,
        description="pixels; larger pages are reduced to this for the layout alone: 1123 is A4 at "
        "96 dpi, as surya-ocr does; blocks are cut from the whole page",
    )
    layout_tokens: int = Field(3072, ge=1, description="longest answer about the layout")
    block_tokens: int = Field(8192, ge=1, description="longest answer about one block")
    retries: int = Field(
        2,
        ge=0,
        description="times to ask again after a cut, looping or broken answer: with block_tokens, "
        "and at a higher temperature, as surya-ocr does",
    )
    loop: LoopRules = LoopRules()
    concurrency: int = Field(32, ge=1, description="requests under way at once, of one worker")
    timeout_s: float = Field(
        300.0, gt=0, description="for one request, from sending to the whole answer"
    )
    attempts: int = Field(
        4, ge=1, description="tries per request, on 408, 409, 429, 5xx or no answer"
    )
    first_wait_s: float = Field(1.0, ge=0, description="wait before the second try; then doubled")
    longest_wait_s: float = Field(60.0, ge=0, description="longest wait between tries")
    give_up_after: int = Field(
        20,
        ge=1,
        description="requests in a row without an answer, after which none is sent for pause_s",
    )
    pause_s: float = Field(
        60.0,
        ge=0,
        description="pause after that; then one request tries whether the server is back",
    )

    @model_validator(mode="after")
    def _may_be_used(self) -> Self:
        if self.base_url is not None:
            self.endpoint(self.base_url)
        return self

    def endpoint(self, base_url: str) -> EndpointConfig:
        """The same, as the client wants it. Raises ValueError for a URL that may not be used."""
        same = self.operational - {"base_url"}
        try:
            return EndpointConfig(
                base_url=base_url, model=self.model, **{name: getattr(self, name) for name in same}
            )
        except ValidationError as error:  # printed whole it would show the URL
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def settled(config: SuryaConfig) -> EndpointConfig:
    """Where the server is. Raises SetupError."""
    url = config.base_url or os.environ.get(URL_VARIABLE, "").strip()
    if not url:
        raise SetupError(
            f"surya.base_url is null and {URL_VARIABLE} is not set in this worker",
            "start Surya's server (vllm serve datalab-to/surya-ocr-2) and say where it is",
        )
    try:
        return config.endpoint(url)
    except ValueError as error:
        raise SetupError(f"{URL_VARIABLE}: {error}", "set it to http://host:port/v1") from None


def check_server(client: EndpointConfig, key: str | None) -> None:
    """Ask what is served, so that a wrong address does not cost a night. Raises SetupError."""
    import httpx

    url = client.base_url.rstrip("/") + "/models"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(url, headers=headers, timeout=10, trust_env=not client.is_near())
        served = [str(one["id"]) for one in answer.raise_for_status().json()["data"]]
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        raise SetupError(
            f"no server of Surya at {url}: {type(error).__name__}: {error}",
            "start it (vllm serve datalab-to/surya-ocr-2), or mend surya.base_url",
        ) from error
    if client.model not in served:
        raise SetupError(
            f"{url} serves {', '.join(served) or 'nothing'}, not {client.model!r}",
            "set surya.model to the name under which Surya's checkpoint is served there",
        )
