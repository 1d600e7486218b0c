"""The budget of a paid endpoint, and the spending so far."""

from __future__ import annotations

import threading
from typing import ClassVar, Self

from pydantic import Field, model_validator

from actors.contract import Settings


class Budget(Settings):
    """Limits per worker, from its start to its end; null: no limit.

    After a limit is reached, no more requests are sent and the rows go to review. Requests and
    retries are counted before they are sent, so their limit is never exceeded. Tokens and money are
    known only after the answer, so the requests in flight (at most `concurrency`) can exceed these
    limits.
    """

    affects_results: ClassVar[bool] = False

    requests: int | None = Field(None, ge=0, description="requests, including retries")
    tokens: int | None = Field(None, ge=0, description="tokens of prompts and answers together")
    money: float | None = Field(None, ge=0, description="cost, in the currency of the two prices")
    prompt_price: float = Field(0.0, ge=0, description="price of a million prompt tokens")
    completion_price: float = Field(0.0, ge=0, description="price of a million answer tokens")

    @model_validator(mode="after")
    def _money_needs_prices(self) -> Self:
        if self.money is not None and not (self.prompt_price or self.completion_price):
            raise ValueError("budget.money needs prompt_price or completion_price")
        return self


class Ledger:
    """Counts requests, tokens and cost. Thread-safe."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self.requests = 0
        self.tokens = 0
        self.money = 0.0

    def spent(self) -> str | None:
        """A message about the limit that is reached; None if no limit is."""
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
        """Count one request and return None. If a limit is reached, return a message instead."""
        with self._lock:
            spent = self.spent()
            if spent is None:
                self.requests += 1
            return spent

    def charge(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Count the tokens of one answer; returns its price."""
        budget = self._budget
        price = (
            prompt_tokens * budget.prompt_price + completion_tokens * budget.completion_price
        ) / 1e6
        with self._lock:
            self.tokens += prompt_tokens + completion_tokens
            self.money += price
        return price
