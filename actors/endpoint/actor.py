"""Base class of readers that call an endpoint instead of running a model."""

from __future__ import annotations

import hashlib
import threading
import time
import traceback
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import cv2

from actors.contract import Actor, Settings
from actors.endpoint.background import BackgroundLoop
from actors.failures import FailureKind, FailureValue, failure

if TYPE_CHECKING:
    from actors.endpoint.client import Endpoint
    from actors.endpoint.settings import EndpointConfig

C = TypeVar("C", bound=Settings)
T = TypeVar("T")


class EndpointActor(Actor[C]):
    """Its requests run in a separate event loop, so several threads may call it at once."""

    repeatable = False

    def _connect(self, client: EndpointConfig, key: str | None, *limits: int) -> None:
        """Create the client. `limits`: further arguments of `Endpoint`."""
        from actors.endpoint.client import Endpoint

        cv2.setNumThreads(1)
        self._endpoint: Endpoint = Endpoint(client, key, *limits)
        self._seconds_lock = threading.Lock()
        self._loop = BackgroundLoop(type(self).__name__.lower())

    def close(self) -> None:
        """Close the connections and end the thread. No call may be in progress."""
        self._loop.run(self._endpoint.close())
        self._loop.close()

    def _asked(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for answers; the time counts as step `ask`."""
        start = time.perf_counter()
        try:
            return self._loop.run(work)
        finally:
            with self._seconds_lock:
                self.seconds["ask"] += time.perf_counter() - start

    def _unknown(self) -> FailureValue:
        """The current exception as a failure, with the API key removed.

        The exception must not leave the actor: the batch would be bisected and every page sent, and
        paid for, again.
        """
        message = self._endpoint.redacted(traceback.format_exc())
        return failure(FailureKind.ENGINE_FAULT, message[-2000:])

    @staticmethod
    def _made_by(engine: str, client: EndpointConfig, *prompts: str) -> dict[str, str]:
        """Entries for `run.json`."""
        return {
            "engine": engine,
            "base_url": client.base_url,
            "prompts_sha256": hashlib.sha256("\0".join(prompts).encode()).hexdigest(),
        }
