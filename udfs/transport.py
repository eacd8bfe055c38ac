"""The HTTP client of the model functions: conversations out in batches, choices back, with retries.

The wire is vLLM's `POST /v1/chat/completions/batch`: `messages` is a list of conversations, each with one choice.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import httpx
import orjson

from sqlllm import tls
from sqlllm.errors import LimitError, ModelError
from sqlllm.wire import (
    BAD_RESPONSE,
    BATCH,
    INSUFFICIENT_QUOTA,
    INVALID_KEY,
    LIMIT_REACHED,
    MODEL_NOT_ALLOWED,
    OF_ALL,
    PROVIDER_REFUSED,
    QUERY_HEADER,
    RATE_LIMITED,
    USAGE,
)

from .requests import Choice, Message, RequestError

logger = logging.getLogger(__name__)

BUSY = 429
UNAVAILABLE = frozenset({502, 503, 504})
FIRST_DELAY = 0.25  # seconds; doubles with each try
LONGEST_DELAY = 15.0
_LEAST_REFUSALS = 4  # of a full queue, before a request is given up
_CURES = {
    PROVIDER_REFUSED: "The provider refuses the key: check saas.api_key and what the key may do, and deploy the model "
    "again.",
    INSUFFICIENT_QUOTA: "The provider's account has no quota left: raise or renew it, and run the statement again. "
    "What is answered is kept.",
    INVALID_KEY: "Set serving.api_key to the key of the gateway.",
    MODEL_NOT_ALLOWED: "Ask whoever runs the gateway to add the model to serving.users.",
}


@dataclass(frozen=True)
class Endpoint:
    """Where a deployed model answers and how to call it. Travels to the executors inside the function."""

    url: str
    model: str
    api_key: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)  # of the gateway, as PEM; empty without TLS
    batch_size: int = 32
    rows_per_prompt: int = 1
    first: int = 0  # rows of a task that are asked before all others, then twice as many; 0: as many as there are
    in_flight: int = 16
    timeout: float = 600.0
    retry_seconds: float = 120.0
    fails: bool = False  # with the first row that has no answer
    keeps: bool = True  # the gateway keeps the answers
    constrains: bool = True  # the model can be held to a JSON schema
    overlong: Literal["error", "truncate"] = "error"
    fallback: str = ""
    fallback_url: str = ""  # of the gateway that has it, if that is another one of the session, with the same key
    query: str = field(default="", repr=False)  # the statement, as the gateway's header takes it


@dataclass(frozen=True, slots=True)
class Reply:
    """A choice for each conversation, in order."""

    id: str
    choices: list[Choice]
    tries: int


class Client:
    """A connection pool and the event loop it lives on, shared by all tasks of one Python worker."""

    def __init__(self, url: str, api_key: str, certificate: str) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="sqlllm-transport", daemon=True).start()
        headers = {"Content-Type": "application/json"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self._url = url
        self._answered: dict[str, float] = {}  # when a model answered last, time.monotonic
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            limits=httpx.Limits(max_connections=None),
            verify=tls.context(certificate),
            trust_env=False,  # a proxy for the internet is none for the gateway
        )

    async def complete(
        self,
        endpoint: Endpoint,
        model: str,
        conversations: list[list[Message]],
        params: bytes,
        on_busy: Callable[[], None] = lambda: None,
    ) -> Reply:
        """The reply of `model` to one batch; `on_busy` is called when the gateway asks for patience.

        Raises RequestError if this batch cannot be answered, ModelError if no batch can, LimitError if none may.
        """
        body = orjson.dumps({"model": model, "messages": conversations} | orjson.loads(params))
        response, tries = await self._post(endpoint, model, body, on_busy)
        if response.status_code == 200:
            self._answered[model] = time.monotonic()
            reply = _reply(response.content, len(conversations), tries)
            if not endpoint.fallback and (error := _of_all(reply.choices)):
                raise ModelError(f"model {model}: {error['message']}", cure=_cure(str(error["code"])))
            return reply
        reason, code = reason_of(response)
        if code == LIMIT_REACHED:
            again = "Run it again to go on from there: what is answered is kept. Or set" if endpoint.keeps else "Set"
            raise LimitError(reason, cure=f"{again} a higher limit.")
        if response.status_code in {401, 403, 404}:  # wrong for every row alike
            raise ModelError(f"model {model}: {reason}", cure=_cure(code))
        raise RequestError("invalid_request", reason, tries)

    async def report(self, endpoint: Endpoint, fields: dict[str, Any]) -> None:
        """Report to the gateway what a task has done. It is for the record: without a gateway nothing is sent."""
        headers = {QUERY_HEADER: endpoint.query}
        try:
            response = await self._http.post(USAGE, content=orjson.dumps(fields), headers=headers, timeout=10)
        except httpx.TransportError:
            return
        if response.is_client_error:
            logger.warning("rows of model %s are not counted: %s", endpoint.model, reason_of(response)[0])

    async def _post(
        self, endpoint: Endpoint, model: str, body: bytes, on_busy: Callable[[], None]
    ) -> tuple[httpx.Response, int]:
        """The response, once a final response is there, and the number of tries."""
        headers = {QUERY_HEADER: endpoint.query} if endpoint.query else {}
        url = (endpoint.fallback_url if model == endpoint.fallback else "") + BATCH
        timeout = httpx.Timeout(endpoint.timeout, connect=10)
        delay, tries, give_up = FIRST_DELAY, 0, 0.0
        busy, refused = time.monotonic(), 0
        while True:
            try:
                response = await self._http.post(url, content=body, headers=headers, timeout=timeout)
            except httpx.ReadTimeout:
                raise RequestError("timeout", f"no answer within {endpoint.timeout:g} s", tries + 1) from None
            except httpx.TransportError as error:
                reason, after = f"{self._url} cannot be reached: {error or type(error).__name__}", 0.0
            else:
                (reason, code), after = reason_of(response), retry_after(response)
                if response.status_code == BUSY:  # it is alive: as patient as it asks, while it answers others
                    on_busy()
                    refused += code != RATE_LIMITED  # else the statement's own limit says when
                    since = time.monotonic() - max(busy, self._answered.get(model, 0.0))
                    if refused >= _LEAST_REFUSALS and since > endpoint.retry_seconds:
                        raise ModelError(
                            f"model {model} took no request for {since:.0f} s: {reason}",
                            cure="Give it more workers, ask for less at once (llm.in_flight), or wait longer "
                            "(llm.retry_seconds).",
                        )
                    await _sleep(max(after, FIRST_DELAY))
                    continue
                # A bare 500 is the proxy's: the gateway behind it has died and is being replaced.
                if response.status_code not in UNAVAILABLE and (response.status_code != 500 or code):
                    return response, tries + 1
            tries += 1
            wait = max(delay, after)
            give_up = give_up or time.monotonic() + endpoint.retry_seconds
            if time.monotonic() + wait > give_up:
                raise ModelError(f"model {model} did not answer after {tries} tries: {reason}")
            await _sleep(wait)
            delay = min(delay * 2, LONGEST_DELAY)


def _of_all(choices: list[Choice]) -> dict[str, Any] | None:
    """The error of a choice that every row of the statement would get; what was answered beside it is kept."""
    errors = (choice["error"] for choice in choices if "error" in choice)
    return next((error for error in errors if error.get("code") in OF_ALL), None)


def _cure(code: str) -> str:
    """What to do about an error that every row gets."""
    return _CURES.get(code, "Is it deployed? See its state in the gateway.")


@cache
def client(url: str, api_key: str, certificate: str) -> Client:
    """The client of a gateway in this process."""
    return Client(url, api_key, certificate)


async def _sleep(seconds: float) -> None:
    """With jitter, so that tasks that failed together do not come back together."""
    await asyncio.sleep(seconds * random.uniform(0.75, 1.25))  # noqa: S311 - not a secret


def _reply(content: bytes, expected: int, tries: int) -> Reply:
    try:
        reply = orjson.loads(content)
        choices = sorted(reply["choices"], key=lambda choice: choice["index"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise RequestError(BAD_RESPONSE, f"not a list of choices: {error!r}") from None
    if [choice["index"] for choice in choices] != list(range(expected)):
        raise RequestError(BAD_RESPONSE, f"{len(choices)} choices for {expected} conversations")
    return Reply(reply.get("id", ""), choices, tries)


def reason_of(response: httpx.Response) -> tuple[str, str]:
    """Message and code of an error; no code if it is not in OpenAI's shape."""
    if response.status_code == 200:
        return "", ""
    try:
        error = response.json()["error"]
        return str(error["message"]), str(error.get("code"))
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}: {response.text[:200]}", ""


def retry_after(response: httpx.Response) -> float:
    try:
        return min(float(response.headers.get("Retry-After", 0)), LONGEST_DELAY)
    except ValueError:  # a date; our own back-off is as good
        return 0.0
