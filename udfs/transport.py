"""The HTTP client of the model functions: conversations out in batches, choices back, with retries.

The wire is vLLM's `POST /v1/chat/completions/batch`: `messages` is a list of conversations, each with one choice.
"""

from __future__ import annotations

import asyncio
import random
import threading
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx
import orjson

from sqlllm.errors import ModelError

from .requests import Message, RequestError

RETRY_STATUS = frozenset({429, 502, 503, 504})
_FIRST_DELAY = 0.25  # seconds; doubles with each try
_LONGEST_DELAY = 15.0


@dataclass(frozen=True)
class Endpoint:
    """Where a deployed model answers and how hard to press it. Travels to the executors inside the function."""

    url: str
    model: str
    api_key: str = field(default="", repr=False)
    batch_size: int = 32
    in_flight: int = 8
    timeout: float = 600.0
    max_retries: int = 6


class Client:
    """A connection pool and the event loop it lives on, shared by all tasks of one Python worker."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="sqlllm-transport", daemon=True).start()
        headers = {"Content-Type": "application/json"}
        if endpoint.api_key:
            headers["Authorization"] = f"Bearer {endpoint.api_key}"
        self._http = httpx.AsyncClient(
            base_url=endpoint.url,
            headers=headers,
            timeout=httpx.Timeout(endpoint.timeout, connect=10),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=endpoint.in_flight),
            trust_env=False,  # a proxy for the internet is none for the gateway
        )

    async def complete(self, conversations: list[list[Message]], params: bytes) -> dict[str, Any]:
        """The reply to one batch: `id` and one choice per conversation, in order.

        Raises RequestError if this batch cannot be answered, ModelError if no batch can.
        """
        body = orjson.dumps({"model": self.endpoint.model, "messages": conversations} | orjson.loads(params))
        delay = _FIRST_DELAY
        for attempt in range(1, self.endpoint.max_retries + 2):
            wait = delay
            try:
                response = await self._http.post("/v1/chat/completions/batch", content=body)
            except httpx.ReadTimeout:
                raise RequestError("timeout", f"no answer within {self.endpoint.timeout:g} s", attempt) from None
            except httpx.TransportError as error:
                reason = f"{self.endpoint.url} cannot be reached: {error or type(error).__name__}"
            else:
                if response.status_code == 200:
                    return _choices(response.content, len(conversations))
                reason = _reason(response)
                if response.status_code not in RETRY_STATUS:
                    break
                wait = max(delay, _retry_after(response))
            if attempt <= self.endpoint.max_retries:
                # Jitter, so that tasks that failed together do not come back together.
                await asyncio.sleep(wait * random.uniform(0.75, 1.25))  # noqa: S311 - not a secret
                delay = min(delay * 2, _LONGEST_DELAY)
        else:
            raise ModelError(f"model {self.endpoint.model} did not answer after {attempt} tries: {reason}")
        if response.status_code in {401, 403, 404}:  # wrong for every row alike
            raise ModelError(
                f"model {self.endpoint.model}: {reason}", cure="Is it deployed? See its state in the gateway."
            )
        raise RequestError("invalid_request", reason, attempt)


@cache
def client(endpoint: Endpoint) -> Client:
    """The client of `endpoint` in this process."""
    return Client(endpoint)


def _choices(content: bytes, expected: int) -> dict[str, Any]:
    try:
        reply = orjson.loads(content)
        choices = sorted(reply["choices"], key=lambda choice: choice["index"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise RequestError("bad_response", f"not a list of choices: {error!r}") from None
    if [choice["index"] for choice in choices] != list(range(expected)):
        raise RequestError("bad_response", f"{len(choices)} choices for {expected} conversations")
    return {"id": reply.get("id", ""), "choices": choices}


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}: {response.text[:200]}"


def _retry_after(response: httpx.Response) -> float:
    try:
        return min(float(response.headers.get("Retry-After", 0)), _LONGEST_DELAY)
    except ValueError:  # a date; our own back-off is as good
        return 0.0
