"""Client of one OpenAI-compatible endpoint: concurrency limit, retries, breaker, budget."""

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
from actors.endpoint.trial import TRIAL_TOKENS, Trial
from actors.failures import FailureKind, FailureValue, ItemFailure, SetupError, failure

#: Maximum bytes of an answer. 4,096 tokens of text take about 20,000 bytes.
MAX_BODY = 2**20
#: Timeout for a connection.
_CONNECT_S = 10.0
#: Temporary errors besides 5xx: timeout, conflict, too many requests.
_PASSING = frozenset({408, 409, 429})
#: Refusals that usually are about who asks: wrong key, unpaid, no rights, no such path or model.
_ABOUT_US = frozenset({401, 402, 403, 404})


class CallFault(ItemFailure):
    """A request without a usable completion.

    Attributes:
        again: whether to retry.
        wait_s: seconds to wait before a retry, as given by the endpoint.
        served: whether the endpoint works; None: unknown, or no request was sent.
        status: HTTP status of a refusal that may be meant for every page; else None.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        served: bool | None,
        again: bool = False,
        wait_s: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(kind, message)
        self.status = status
        self.served = served
        self.again = again
        self.wait_s = wait_s


@dataclass
class Answer:
    """The result of one question.

    Attributes:
        text: the answer; may be set together with a `failure`.
        model: name of the model as given by the endpoint.
        probability: mean over the tokens, 0..1; None if a token has no logprob.
        failure: None for a good answer.
        requests: number of requests, including retries.
        prompt_tokens, completion_tokens: None if the endpoint does not count them.
        money: cost; None without prices.
        seconds: time of all requests, without the waits between them.
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
    """The client of one worker. All its coroutines run in one event loop.

    After a refusal that may be meant for every page (wrong key, unpaid, no such model) an empty
    page is sent. If it is refused too, and again after `pause_s`, `ask` raises SetupError: the page
    is not the cause. If it is answered, the refusal is the page's.

    A question takes one of `concurrency` slots and keeps it during its retries, so an overloaded
    endpoint gets fewer requests.
    """

    def __init__(self, config: EndpointConfig, key: str | None, max_body: int = MAX_BODY) -> None:
        """`key`: API key or None. `max_body`: maximum bytes of an answer, else VLM_GARBAGE."""
        self._config = config
        self._max_body = max_body
        self._key = key
        self._url = config.base_url.rstrip("/") + "/chat/completions"
        self._slots = asyncio.Semaphore(config.concurrency)
        self._breaker = Breaker(config.give_up_after, config.pause_s)
        self.ledger = Ledger(config.budget or Budget())
        self._trying = asyncio.Lock()
        self._answered_at = 0.0  # time.monotonic() of the last answer
        self._refused: SetupError | None = None
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(None, connect=min(_CONNECT_S, config.timeout_s)),
            limits=httpx.Limits(max_connections=config.concurrency),
            follow_redirects=False,  # a redirect could send the page to any host
            trust_env=not config.is_near(),  # no proxy for hosts on a private network
        )

    def closed(self) -> FailureValue | None:
        """The failure that a question gets now without a request; None if it would be sent."""
        spent = self.ledger.spent()
        if spent:
            return failure(FailureKind.VLM_BUDGET, spent)
        wait_s = self._breaker.closed_s()
        if wait_s <= 0:
            return None
        message = (
            f"not sent: at least {self._config.give_up_after} requests in a row failed; the next "
            f"one is sent in {wait_s:.0f} s; last error: {self._breaker.last}"
        )
        return failure(FailureKind.VLM_UNREACHABLE, self.redacted(message))

    async def ask(self, question: EndpointRequest) -> Answer:
        """The endpoint's answer. Errors are in its `failure`; nothing is raised for them.

        Raises SetupError if the endpoint refuses every page.
        """
        answer = Answer()
        async with self._slots:
            refusal = await self._asked_once(question, answer)
            if refusal is not None:
                await self._check(refusal, time.monotonic())
                refusal = await self._asked_once(question, answer)
            if refusal is not None:  # before and after it the endpoint has answered
                answer.failure = failure(refusal.kind, self.redacted(refusal.message))
        return answer

    async def _asked_once(self, question: EndpointRequest, answer: Answer) -> CallFault | None:
        """Ask, with retries, and fill `answer`; or return a refusal that may be everybody's."""
        closed = self.closed()  # this can change while the question waits for a slot
        if closed:
            answer.failure = closed
            return None
        admission = self._breaker.admit()
        served, what = None, ""
        try:
            await self._persist(question, answer)
            served = True
        except CallFault as fault:
            if fault.status is not None:
                return fault
            served, what = fault.served, fault.message
            if answer.requests > 1:
                what += f" (attempt {answer.requests})"
            answer.failure = failure(fault.kind, self.redacted(what))
        finally:
            self._breaker.report(admission, served, what)
        return None

    async def _check(self, refusal: CallFault, refused_at: float) -> None:
        """Return if the endpoint answers others. Raises SetupError if it refuses everybody."""
        async with self._trying:
            if self._refused:
                raise self._refused
            if self._answered_at > refused_at or await self._answers_others():
                return
            await asyncio.sleep(self._config.pause_s)
            if await self._answers_others() is not False:
                return
            self._refused = SetupError(
                f"{self._config.base_url} refuses every request, also an empty page, since "
                f"{time.monotonic() - refused_at:.0f} s: {self.redacted(refusal.message)}",
                f"{self._remedy(refusal.status)}, then start the same command again. Committed "
                "rows are kept, and no page failed because of it. pause_s sets how long to wait",
            )
            raise self._refused

    async def _answers_others(self) -> bool | None:
        """Whether an empty page is answered, or refused (False); None: neither."""
        trial = Trial()
        if self.ledger.take_request():
            return None
        try:
            async with asyncio.timeout(self._config.timeout_s):
                completion = await self._completion(trial.body(self._config), TRIAL_TOKENS)
        except CallFault as fault:
            if fault.status is not None:
                return False
            return True if fault.served else None
        except (TimeoutError, httpx.HTTPError):
            return None
        self._charge(trial, completion, Answer())
        self._answered_at = time.monotonic()
        return True

    def _remedy(self, status: int | None) -> str:
        if status == 404:
            return "check base_url and model"
        if status == 402:
            return "check the balance and the limits of the account"
        key = self._config.api_key_env
        return f"check the key in {key} and its rights" if key else "set api_key_env to a key"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def redacted(self, message: str) -> str:
        """`message` without the key, because endpoints quote it in their errors."""
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
            self._charge(question, Completion(), answer)  # the endpoint may bill it anyway
            message = f"no complete answer within timeout_s = {self._config.timeout_s:g}"
            raise CallFault(FailureKind.VLM_TIMEOUT, message, served=False, again=True) from None
        except httpx.HTTPError as error:
            message = f"{type(error).__name__}: {error}"
            raise CallFault(
                FailureKind.VLM_UNREACHABLE, message, served=False, again=True
            ) from None
        finally:
            answer.seconds += time.monotonic() - start
        self._answered_at = time.monotonic()
        self._charge(question, completion, answer)
        answer.text, answer.model = completion.text, completion.model
        answer.probability = completion.probability
        if completion.fault:
            raise CallFault(completion.fault.kind, completion.fault.message, served=True)

    async def _completion(self, content: bytes, max_tokens: int) -> Completion:
        """Send one request. Raises CallFault for statuses other than 2xx, and httpx.HTTPError."""
        body = bytearray()
        async with self._client.stream("POST", self._url, content=content) as response:
            async for piece in response.aiter_raw():  # raw: we accept no compressed answers
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
        """Charge the answer to the budget; unknown counts are charged at their upper bound."""
        prompt, completed = completion.prompt_tokens, completion.completion_tokens
        answer.prompt_tokens, answer.completion_tokens = prompt, completed
        price = self.ledger.charge(
            question.prompt_tokens() if prompt is None else prompt,
            question.max_tokens(self._config) if completed is None else completed,
        )
        if self._config.budget is not None:
            answer.money = (answer.money or 0.0) + price


class _Patience(wait_base):
    """Exponential backoff with jitter. A longer Retry-After is honoured up to `longest_s`."""

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
    if status in _ABOUT_US:
        return CallFault(FailureKind.VLM_REFUSED, message, served=None, status=status)
    return CallFault(FailureKind.VLM_REFUSED, message, served=True)


def _retry_after_s(header: str | None) -> float | None:
    """Seconds of a Retry-After header: a number or an HTTP date (RFC 9110, 10.2.3)."""
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
