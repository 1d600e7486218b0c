"""The config of Surya, and the check of its server."""

from __future__ import annotations

import os
from typing import ClassVar, Self

from pydantic import Field, ValidationError, model_validator

from actors.contract import Settings
from actors.endpoint.loops import LoopRules
from actors.endpoint.settings import EndpointConfig
from actors.failures import SetupError

#: Variable with the server's URL; surya-ocr uses the same one.
URL_VARIABLE = "SURYA_INFERENCE_URL"


class SuryaConfig(Settings):
    """Surya's server, and the parameters of its requests."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {
            *("base_url", "api_key_env", "allow_plain_http", "concurrency"),
            *("timeout_s", "attempts", "first_wait_s", "longest_wait_s"),
            *("give_up_after", "pause_s"),
        }
    )

    base_url: str | None = Field(
        None,
        description="URL of Surya's server, e.g. http://host:8000/v1; null: the environment "
        f"variable {URL_VARIABLE} of the workers",
    )
    model: str = Field(
        "datalab-to/surya-ocr-2", min_length=1, description="name of the model on the server"
    )
    api_key_env: str | None = Field(
        None, description="environment variable of the workers with the API key; null: no key"
    )
    allow_plain_http: bool = Field(
        False, description="allow http to hosts outside private networks"
    )
    layout_side: int = Field(
        1123,
        ge=64,
        description="longer side of the picture for the layout request, in pixels; larger pages "
        "are reduced to it. 1123 is A4 at 96 dpi, as in surya-ocr. Blocks are cut from the full "
        "page",
    )
    layout_tokens: int = Field(3072, ge=1, description="maximum tokens of a layout answer")
    block_tokens: int = Field(8192, ge=1, description="maximum tokens of a block answer")
    retries: int = Field(
        2,
        ge=0,
        description="new requests after a truncated, looping or invalid answer, with block_tokens "
        "and a higher temperature, as in surya-ocr",
    )
    loop: LoopRules = LoopRules()
    concurrency: int = Field(32, ge=1, description="concurrent requests per worker")
    timeout_s: float = Field(
        300.0, gt=0, description="timeout of one request, until the complete answer"
    )
    attempts: int = Field(
        4, ge=1, description="attempts per request, after 408, 409, 429, 5xx or no answer"
    )
    first_wait_s: float = Field(
        1.0, ge=0, description="seconds before the second attempt; doubled for each later one"
    )
    longest_wait_s: float = Field(60.0, ge=0, description="maximum seconds between attempts")
    give_up_after: int = Field(
        20,
        ge=1,
        description="failed requests in a row after which the worker sends none for pause_s",
    )
    pause_s: float = Field(
        60.0,
        ge=0,
        description="seconds of this pause; then a single request tests the server. Also between "
        "two tests of a server that refuses everybody, before the run stops",
    )

    @model_validator(mode="after")
    def _may_be_used(self) -> Self:
        if self.base_url is not None:
            self.endpoint(self.base_url)
        return self

    def endpoint(self, base_url: str) -> EndpointConfig:
        """These settings for the client. Raises ValueError for a forbidden URL."""
        same = self.operational - {"base_url"}
        try:
            return EndpointConfig(
                base_url=base_url, model=self.model, **{name: getattr(self, name) for name in same}
            )
        except ValidationError as error:  # its full text contains the URL
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def settled(config: SuryaConfig) -> EndpointConfig:
    """The client's settings, with the URL from the config or the environment.

    Raises SetupError.
    """
    url = config.base_url or os.environ.get(URL_VARIABLE, "").strip()
    if not url:
        raise SetupError(
            f"surya.base_url is null and {URL_VARIABLE} is not set in this worker",
            "start Surya's server (vllm serve datalab-to/surya-ocr-2) and set one of them to its "
            "URL",
        )
    try:
        return config.endpoint(url)
    except ValueError as error:
        raise SetupError(f"{URL_VARIABLE}: {error}", "set it to http://host:port/v1") from None


def check_server(client: EndpointConfig, key: str | None) -> None:
    """Check that the server lists the model, so that a wrong URL fails at the start.

    Raises SetupError.
    """
    import httpx

    url = client.base_url.rstrip("/") + "/models"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(url, headers=headers, timeout=10, trust_env=not client.is_near())
        served = [str(one["id"]) for one in answer.raise_for_status().json()["data"]]
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        raise SetupError(
            f"Surya's server does not answer at {url}: {type(error).__name__}: {error}",
            "start it (vllm serve datalab-to/surya-ocr-2), or correct surya.base_url",
        ) from error
    if client.model not in served:
        raise SetupError(
            f"{url} serves {', '.join(served) or 'nothing'}, not {client.model!r}",
            "set surya.model to the name of Surya's checkpoint on that server",
        )
