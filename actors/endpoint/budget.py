"""What a run may spend on a paid endpoint, and what it has spent."""

from __future__ import annotations

import threading
from typing import ClassVar, Self

from pydantic import Field, model_validator

from actors.contract import Settings


class Budget(Settings):
    """Limits of one worker's life; null: none. When one is reached, rows go to review unasked.

    Requests are counted before they are sent, retries too: the limit is never passed. Tokens and
    money are known with the answer: they pass their limit by at most the answers that were under
    way, `concurrency` of them.
    """

    affects_results: ClassVar[bool] = False

    requests: int | None = Field(None, ge=0, description="sent requests, retries included")
    tokens: int | None = Field(None, ge=0, description="tokens of prompts and answers together")
    money: float | None = Field(None, ge=0, description="cost, in the currency of the two prices")
    prompt_price: float = Field(0.0, ge=0, description="price of a million prompt tokens")
    completion_price: float = Field(0.0, ge=0, description="price of a million answered tokens")

    @model_validator(mode="after")
    def _money_needs_prices(self) -> Self:
        if self.money is not None and not (self.prompt_price or self.completion_price):
            raise ValueError("a limit of money needs prompt_price and completion_price")
        return self


class Ledger:
    """Counts what is spent; may be used from several threads."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self.requests = 0
        self.tokens = 0
        self.money = 0.0

    def spent(self) -> str | None:
        """Which limit is reached, in words for a message; None while there is something left."""
        budget = self._budget
        limits = (
            ("requests", self.requests, budget.requests),
            ("tokens", self.tokens, budget.tokens),
            ("money", self.money, budget.money),
        )
        for name, used, limit in limits:
            if limit is not None and used >= limit:
                return f"budget.{name} is spent: {used:.6g} of {limit:.6g}"
        return None

    def take_request(self) -> str | None:
        """Count one request, unless a limit is reached: then says which, and counts nothing."""
        with self._lock:
            spent = self.spent()
            if spent is None:
                self.requests += 1
            return spent

    def charge(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Count what one answer used; returns its price."""
        budget = self._budget
        price = (
            prompt_tokens * budget.prompt_price + completion_tokens * budget.completion_price
        ) / 1e6
        with self._lock:
            self.tokens += prompt_tokens + completion_tokens
            self.money += price
        return price
