"""What an endpoint can be asked: the seam between the client and those who ask."""

from __future__ import annotations

from typing import Protocol

from actors.endpoint.settings import EndpointConfig


class EndpointRequest(Protocol):
    """What an endpoint can be asked."""

    def body(self, config: EndpointConfig) -> bytes:
        """The JSON of the request."""

    def max_tokens(self, config: EndpointConfig) -> int:
        """Tokens that the answer may have."""

    def prompt_tokens(self) -> int:
        """An upper guess for endpoints that do not count."""
