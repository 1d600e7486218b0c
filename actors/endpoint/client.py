"""Asks one OpenAI-compatible endpoint: slots, retries, breaker, budget."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)
from tenacity.wait import wait_base

from actors.endpoint.breaker import Breaker
from actors.endpoint.budget import Budget, Ledger
from actors.endpoint.completion import Completion, error_text, read_completion
from actors.endpoint.request import EndpointRequest
from actors.endpoint.settings import EndpointConfig
from actors.failures import FailureKind, FailureValue, ItemFailure, failure

#: Bytes of an answer that are read; 4,096 tokens of text take about 20,000.
MAX_BODY = 2**20
#: A host that does not take a connection by then is not there.
_CONNECT_S = 10.0
#: Statuses that pass by themselves, besides 5xx: timeout, conflict, too many requests.
_PASSING = frozenset({408, 409, 429})
#: Statuses that say nothing about the page: key, rights, path or model are wrong, for every page.
_SETUP = frozenset({401, 403, 404})


class CallFault(ItemFailure):
    """A request that brought no completion.

    `again`: worth another attempt, after `wait_s` if the endpoint named a time. `served`: whether
    the endpoint works; None: it was not asked.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        served: bool | None,
        again: bool = False,
        wait_s: float | None = None,
    ) -> None:
        super().__init__(kind, message)
        self.served = served
        self.again = again
        self.wait_s = wait_s


@dataclass
class Answer:
    """What came of one question. `text` may stand beside a `failure`.

    Counts are None where the endpoint did not say them, `probability` (mean over the tokens, 0..1)
    where it gave no logprob for one, `money` without prices. `seconds`: from sending to the end,
    summed over the requests, without the waits between them.
    """

    text: str | None = None
    model: str | None = None
    probability: float | None = None
    failure: FailureValue | None = None
    requests: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    money: float | None = None
    seconds: float = 0.0


class Endpoint:
    """One endpoint, as one worker sees it. All its coroutines run in one event loop.

    A question waits for one of `concurrency` slots and keeps it between its attempts: an endpoint
    that asks for patience is asked less.
    """

    def __init__(self, config: EndpointConfig, key: str | None, max_body: int = MAX_BODY) -> None:
        """`max_body`: bytes of an answer that are read; more is VLM_GARBAGE."""
        self._config = config
        self._max_body = max_body
        self._key = key
        self._url = config.base_url.rstrip("/") + "/chat/completions"
        self._slots = asyncio.Semaphore(config.concurrency)
        self._breaker = Breaker(config.give_up_after, config.pause_s)
        self.ledger = Ledger(config.budget or Budget())
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(None, connect=min(_CONNECT_S, config.timeout_s)),
            limits=httpx.Limits(max_connections=config.concurrency),
            follow_redirects=False,  # would carry the page to wherever it is told to
            trust_env=not config.is_near(),  # a proxy is for what is far away
        )

    def closed(self) -> FailureValue | None:
        """Why a question would not even be sent now; None if it would be."""
        spent = self.ledger.spent()
        if spent:
            return failure(FailureKind.VLM_BUDGET, spent)
        wait_s = self._breaker.closed_s()
        if wait_s <= 0:
            return None
        message = (
            f"not asked: {self._config.give_up_after} requests in a row and more got nothing, the "
            f"next one goes out in {wait_s:.0f} s; the last met: {self._breaker.last}"
        )
        return failure(FailureKind.VLM_UNREACHABLE, self.redacted(message))

    async def ask(self, question: EndpointRequest) -> Answer:
        """The endpoint's answer. Whatever goes wrong is in its `failure`."""
        answer = Answer()
        async with self._slots:
            closed = self.closed()  # it may have become so while the question waited
            if closed:
                answer.failure = closed
                return answer
            admission = self._breaker.admit()
            served, what = None, ""
            try:
                await self._persist(question, answer)
                served = True
            except CallFault as fault:
                served, what = fault.served, fault.message
                if answer.requests > 1:
                    what += f" (attempt {answer.requests})"
                answer.failure = failure(fault.kind, self.redacted(what))
            finally:
                self._breaker.report(admission, served, what)
        return answer

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def redacted(self, message: str) -> str:
        """`message` without the key: endpoints quote it in their errors."""
        return message.replace(self._key, "***") if self._key else message

    async def _persist(self, question: EndpointRequest, answer: Answer) -> None:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._config.attempts),
            wait=_Patience(self._config.first_wait_s, self._config.longest_wait_s),
            retry=retry_if_exception(lambda error: isinstance(error, CallFault) and error.again),
            reraise=True,
        )
        await retrying(self._attempt, question, answer)

    async def _attempt(self, question: EndpointRequest, answer: Answer) -> None:
        content = question.body(self._config)
        spent = self.ledger.take_request()
        if spent:
            raise CallFault(FailureKind.VLM_BUDGET, spent, served=None)
        answer.requests += 1
        start = time.monotonic()
        try:
            async with asyncio.timeout(self._config.timeout_s):
                completion = await self._completion(content, question.max_tokens(self._config))
        except TimeoutError:
            self._charge(question, Completion(), answer)  # it may have worked on it all the same
            message = f"no whole answer within {self._config.timeout_s:g} s"
            raise CallFault(FailureKind.VLM_TIMEOUT, message, served=False, again=True) from None
        except httpx.HTTPError as error:
            message = f"{type(error).__name__}: {error}"
            raise CallFault(
                FailureKind.VLM_UNREACHABLE, message, served=False, again=True
            ) from None
        finally:
            answer.seconds += time.monotonic() - start
        self._charge(question, completion, answer)
        answer.text, answer.model = completion.text, completion.model
        answer.probability = completion.probability
        if completion.fault:
            raise CallFault(completion.fault.kind, completion.fault.message, served=True)

    async def _completion(self, content: bytes, max_tokens: int) -> Completion:
        """Send one request. Raises CallFault for any status but 2xx, and httpx.HTTPError."""
        body = bytearray()
        async with self._client.stream("POST", self._url, content=content) as response:
            async for piece in response.aiter_raw():  # raw: a packed answer is none of ours
                body += piece
                if len(body) > self._max_body:
                    break
        if not response.is_success:
            raise _status_fault(response, bytes(body[: self._max_body]))
        if len(body) > self._max_body:
            message = f"the answer has more than {self._max_body} bytes"
            return Completion(fault=ItemFailure(FailureKind.VLM_GARBAGE, message))
        return read_completion(bytes(body), max_tokens)

    def _charge(self, question: EndpointRequest, completion: Completion, answer: Answer) -> None:
        """What the answer does not count is charged at its upper bound: a budget is a promise."""
        prompt, completed = completion.prompt_tokens, completion.completion_tokens
        answer.prompt_tokens, answer.completion_tokens = prompt, completed
        price = self.ledger.charge(
            question.prompt_tokens() if prompt is None else prompt,
            question.max_tokens(self._config) if completed is None else completed,
        )
        if self._config.budget is not None:
            answer.money = (answer.money or 0.0) + price


class _Patience(wait_base):
    """Exponential backoff with jitter, or longer if the endpoint asks for it, up to a bound."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._longest_s = longest_s
        self._backoff = wait_exponential_jitter(multiplier=first_s, jitter=first_s, max=longest_s)

    def __call__(self, retry_state: RetryCallState) -> float:
        fault = retry_state.outcome.exception() if retry_state.outcome else None
        asked = fault.wait_s if isinstance(fault, CallFault) else None
        return max(self._backoff(retry_state), min(asked or 0.0, self._longest_s))


def _status_fault(response: httpx.Response, body: bytes) -> CallFault:
    status = response.status_code
    message = f"HTTP {status}: {error_text(body)}"
    if status in _PASSING or status >= 500:
        wait_s = _retry_after_s(response.headers.get("Retry-After"))
        return CallFault(
            FailureKind.VLM_UNREACHABLE, message, served=False, again=True, wait_s=wait_s
        )
    return CallFault(FailureKind.VLM_REFUSED, message, served=status not in _SETUP)


def _retry_after_s(header: str | None) -> float | None:
    """Seconds from now of a Retry-After header: a number or an HTTP date (RFC 9110, 10.2.3)."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (when.astimezone(UTC) - datetime.now(UTC)).total_seconds())
