"""One request and its response: sent again where that helps, and an error in the provider's words where not."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from sqlllm.errors import OptionError, ProviderError

from .effects import Failure, Open, Request, Response, Send, Sleep, Steps
from .endpoint import Endpoint
from .retries import RETRIED, back_off, retry_after

_TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Policy:
    """How long and how often: `timeout` seconds for all attempts together, `idle` between two pieces of a stream."""

    timeout: float = 600.0
    idle: float = 120.0
    retries: int = 2


def dumps(value: Any) -> bytes:
    """JSON with real characters. Raises: OptionError for a value that JSON does not have."""
    import orjson

    try:
        return orjson.dumps(value, default=_plain)
    except (TypeError, ValueError) as error:
        raise OptionError(f"the request is not JSON: {error}", cure="Give text, numbers, lists and dicts.") from None


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy's
        return value.tolist()
    if hasattr(value, "model_dump"):  # pydantic's
        return value.model_dump(mode="json")
    raise TypeError(type(value).__name__)


def loads(body: bytes) -> Any:
    """The JSON of a body; None if the body is not JSON."""
    import orjson

    try:
        return orjson.loads(body)
    except ValueError:
        return None


def post(endpoint: Endpoint, path: str, body: Mapping[str, Any]) -> Request:
    """A request with a JSON body."""
    return Request(endpoint, path, dumps(body))


def exchange(request: Request, policy: Policy, *, stream: bool = False) -> Steps[Response]:
    """Send a request until there is a response of status 200.

    Raises: ProviderError with the provider's words.
    """
    end = time.monotonic() + policy.timeout
    for attempt in range(1, policy.retries + 2):
        left = max(0.001, end - time.monotonic())
        response = yield (Open(request, left, policy.idle) if stream else Send(request, left))
        if isinstance(response, Response):
            if response.status == 200:
                return response
            response = replace(response, body=request.endpoint.mask_bytes(response.body))
        wait: float | None = back_off(attempt)
        if isinstance(response, Response):
            asked = retry_after(response.headers.get("retry-after"))
            wait = (asked or wait) if response.status in RETRIED else None
        elif response.timed_out:
            wait = None  # the time is for all attempts together
        if wait is None or attempt > policy.retries or time.monotonic() + wait >= end:
            raise_for(response, request.endpoint, policy)
        yield Sleep(wait)
    raise AssertionError  # the last attempt has returned or raised


def received(request: Request, policy: Policy) -> Steps[dict[str, Any]]:
    """The JSON object that a request brings.

    Raises: ProviderError if it brings none.
    """
    response = yield from exchange(request, policy)
    value = loads(response.body)
    if not isinstance(value, dict):
        raise not_json(response, request.endpoint)
    if value.get("error") and not value.get("choices"):
        raise_for(replace(response, body=request.endpoint.mask_bytes(response.body)), request.endpoint, policy)
    return value


@contextmanager
def well_formed(endpoint: Endpoint) -> Iterator[None]:
    """A response that is of another shape than it is read here is the provider's error."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ProviderError(
            f"{endpoint.base}: the response has an unknown shape: {type(error).__name__}: {error}",
            cure="Check that base_url is the address of an API in OpenAI's shapes.",
            status=200,
        ) from None


def not_json(response: Response, endpoint: Endpoint) -> ProviderError:
    """A response of status 200 whose body is not a JSON object, such as the page of a proxy."""
    return ProviderError(
        f"{endpoint.base} gave no JSON: {endpoint.mask(_words(response)) or 'nothing'}",
        cure="Check that base_url is the address of an API, as in https://.../v1.",
        status=response.status,
    )


def raise_for(response: Response | Failure, endpoint: Endpoint, policy: Policy) -> NoReturn:
    """The error of a response whose status is not 200, or of a request without a response."""
    if isinstance(response, Failure):
        raise ProviderError(
            f"{endpoint.base}: {response.reason}" + (f" ({policy.timeout:g} s)" if response.timed_out else ""),
            cure="Give more time: timeout=..." if response.timed_out else "Check the address, and that it runs.",
        )
    body = loads(response.body)
    error = body.get("error", body) if isinstance(body, dict) else None
    code = str(error.get("code") or error.get("type") or "") if isinstance(error, dict) else ""
    asked = retry_after(response.headers.get("retry-after"))
    raise ProviderError(
        f"{endpoint.base}: HTTP {response.status}: {_words(response) or 'no reason given'}",
        cure=_cure(response.status, asked, bool(endpoint.key)),
        status=response.status,
        code=code,
        retry_after=asked,
    )


def _words(response: Response) -> str:
    """The provider's words in the body of an error, whatever its shape."""
    body = loads(response.body)
    if isinstance(body, dict):
        for value in (body.get("error"), body.get("message"), body.get("detail"), body.get("msg"), body):
            if isinstance(value, dict) and isinstance(value.get("message"), str):
                return str(value["message"])
            if isinstance(value, str) and value:
                return value
        return dumps(body.get("error") or body.get("detail") or body)[:300].decode(errors="replace")
    text = response.body[:4000].decode(errors="replace")
    return " ".join(_TAG.sub(" ", text).split())[:300]


def _cure(status: int, asked: float | None, keyed: bool) -> str:
    if status in (401, 403):
        return "Check api_key." if keyed else "Give api_key=..."
    if status == 404:
        return "Check the model's name and base_url; llm.models() lists what is there."
    if status == 429:
        return f"Wait {asked:g} s." if asked else "Ask less at once, or wait."
    if 300 <= status < 400:
        return "Give the address that it leads to as base_url."
    return ""
