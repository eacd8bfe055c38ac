"""One conversation whose answer comes piece by piece, over OpenAI's server-sent events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import orjson

from sqlllm import tls
from sqlllm.errors import LimitError, ModelError
from sqlllm.lines import lines
from sqlllm.wire import LIMIT_REACHED, QUERY_HEADER, USAGE

from .requests import Choice, Conversation
from .transport import BUSY, FIRST_DELAY, LONGEST_DELAY, UNAVAILABLE, Endpoint, reason_of, retry_after


def stream(endpoint: Endpoint, conversation: Conversation, on_piece: Callable[[str], None]) -> Choice:
    """Ask, hand on each piece of the answer as it comes, and give the whole as a choice.

    Raises: ModelError with the gateway's reason, LimitError if no call may be made.
    """
    headers = {"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}
    if endpoint.query:
        headers[QUERY_HEADER] = endpoint.query
    asked = {"model": endpoint.model, "messages": conversation.messages, "stream": True}
    body = orjson.dumps({**asked, "stream_options": {"include_usage": True}} | orjson.loads(conversation.params))
    text, thoughts, choice = [], [], dict[str, Any](finish_reason=None, usage=None)
    timeout, verify = httpx.Timeout(endpoint.timeout, connect=10), tls.context(endpoint.certificate)
    with httpx.Client(
        base_url=endpoint.url, headers=headers, timeout=timeout, verify=verify, trust_env=False
    ) as client:
        for event in _events(endpoint, client, body):
            if error := event.get("error"):
                raise ModelError(f"model {endpoint.model}: {error.get('message')}")
            choice["request_id"] = event.get("id")
            choice["usage"] = event.get("usage") or choice["usage"]
            for told in event.get("choices") or ():
                choice["finish_reason"] = told.get("finish_reason") or choice["finish_reason"]
                delta = told.get("delta") or {}
                thoughts.append(delta.get("reasoning_content") or delta.get("reasoning") or "")
                if piece := delta.get("content"):
                    text.append(piece)
                    on_piece(piece)
        _report(endpoint, client)
    message = {"role": "assistant", "content": "".join(text), "reasoning_content": "".join(thoughts)}
    return {**choice, "message": message}


def _events(endpoint: Endpoint, client: httpx.Client, body: bytes) -> Iterator[dict[str, Any]]:
    """The events of the answer. Before the first one it is asked again where that may help."""
    give_up, delay = time.monotonic() + endpoint.retry_seconds, FIRST_DELAY
    while True:
        try:
            with client.stream("POST", "/v1/chat/completions", content=body) as response:
                if response.status_code == 200:
                    for line in lines(response.iter_bytes()):
                        if line.startswith("data: {"):
                            yield orjson.loads(line.removeprefix("data: "))
                    return
                response.read()
                (reason, code), after = reason_of(response), retry_after(response)
                again = response.status_code in {BUSY, *UNAVAILABLE}
        except httpx.ReadTimeout:
            raise ModelError(f"model {endpoint.model}: no answer within {endpoint.timeout:g} s") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            reason, code, after, again = f"{endpoint.url} cannot be reached: {error}", "", 0.0, True
        except httpx.TransportError as error:
            raise ModelError(f"model {endpoint.model}: the answer broke off: {error}") from None
        if code == LIMIT_REACHED:
            raise LimitError(reason, cure="Set a higher limit.")
        if not again or time.monotonic() + max(delay, after) > give_up:
            raise ModelError(f"model {endpoint.model}: {reason}")
        time.sleep(max(delay, after))
        delay = min(2 * delay, LONGEST_DELAY)


def _report(endpoint: Endpoint, client: httpx.Client) -> None:
    """Report the single row to the gateway, for the record."""
    if endpoint.query:
        told = {"model": endpoint.model, "part": (0, 0), "rows": 1, "failed": 0, "retried": 0}
        try:
            client.post(USAGE, content=orjson.dumps(told), timeout=10)
        except httpx.TransportError:
            return
