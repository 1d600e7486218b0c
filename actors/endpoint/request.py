"""The interface between the endpoint's client and the actors that use it."""

from __future__ import annotations

from typing import Protocol

from actors.endpoint.settings import EndpointConfig


class EndpointRequest(Protocol):
    """A request to an endpoint."""

    def body(self, config: EndpointConfig) -> bytes:
        """The JSON of the request."""

    def max_tokens(self, config: EndpointConfig) -> int:
        """Maximum tokens of the answer."""

    def prompt_tokens(self) -> int:
        """Upper estimate, for endpoints that do not count tokens."""
