"""Settings of `nightjar serve vlm`: model, backend, address, token and limits."""

from __future__ import annotations

import ipaddress
import os
from importlib.util import find_spec
from typing import Literal, Self

from pydantic import Field, model_validator

from actors.hub_model import HubCheckpoint
from pipelines.errors import ConfigError

Backend = Literal["auto", "vllm", "transformers"]


class ServeVlmConfig(HubCheckpoint):
    """An OpenAI-compatible endpoint for the fallback reader, on Ray Serve."""

    name: str | None = Field(None, description="model name in requests; null: `model`")
    backend: Backend = Field(
        "auto", description="auto: vllm if it is installed and num_gpus is at least 1"
    )
    host: str = Field(
        "127.0.0.1", description="address to listen on; other than loopback needs a token"
    )
    port: int = Field(8000, ge=1, lt=65536)
    token_env: str = Field(
        "NIGHTJAR_VLM_TOKEN", description="environment variable with the token of the callers"
    )
    replicas: int = Field(1, ge=1)
    num_cpus: float = Field(1.0, ge=0, description="CPU cores of a replica")
    num_gpus: float = Field(0.0, ge=0, description="GPUs of a replica")
    max_batch: int = Field(8, ge=1, description="requests answered together (transformers)")
    batch_wait_s: float = Field(0.05, ge=0, description="longest wait for a batch to fill")
    max_waiting: int = Field(64, ge=1, description="most waiting requests; others get status 503")
    max_tokens: int = Field(4096, ge=1, description="most tokens of an answer")
    max_pixels: int = Field(
        50_000_000, ge=1, description="larger pictures are refused before decoding"
    )
    max_body_mb: float = Field(30.0, gt=0)

    @model_validator(mode="after")
    def _vllm_stays_on_loopback(self) -> Self:
        if self.backend == "vllm" and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host}: the vllm backend does not check tokens; use a loopback host "
                "behind a proxy with authentication"
            )
        return self

    def settled_backend(self) -> Literal["vllm", "transformers"]:
        """The backend to run; `auto` is resolved."""
        if self.backend != "auto":
            return self.backend
        fits = self.num_gpus >= 1 and find_spec("vllm") is not None and is_loopback(self.host)
        return "vllm" if fits else "transformers"

    def token(self) -> str | None:
        """The token that callers must send. Raises ConfigError if it is required but not set."""
        token = os.environ.get(self.token_env)
        if not token and not is_loopback(self.host):
            raise ConfigError(
                f"host {self.host} can be reached from other machines, but {self.token_env} is "
                "not set",
                f"export {self.token_env} with a long random value, or set host: 127.0.0.1",
            )
        return token or None


def is_loopback(host: str) -> bool:
    """True if only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
