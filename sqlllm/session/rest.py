"""load Rest.`https://...`: what a web address answers, one row a request, with Byzer-SQL's options."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import httpx

from sqlllm.errors import OptionError, TableError

from . import guard, options

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from .formats import Request

_OPTIONS = (
    "body", "config.connect-timeout", "config.method", "config.page.interval", "config.page.limit", "config.page.next",
    "config.page.values", "config.socket-timeout",
)  # fmt: skip
_FREE = ("form.", "header.")
_METHODS = ("get", "post", "put")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0}
_SCHEMA = "content binary, status int"


def read(ask: Request) -> DataFrame:
    """Columns `content`, the bytes of the answer, and `status`. With `config.page.next` a row for each page.

    Raises TableError if no answer comes; an answer with an error's status is a row.
    """
    guard.require(ask.session, "http", "load Rest sends requests to other machines", ask.place)
    given = ask.options
    options.check({key: value for key, value in given.items() if not key.lower().startswith(_FREE)}, _OPTIONS)
    method = options.choice({"config.method": given.get("config.method", "get").lower()}, "config.method", _METHODS)
    connect, read_ = _seconds(given, "config.connect-timeout", 10), _seconds(given, "config.socket-timeout", 30)
    limit = options.count({"config.page.limit": "1", **given}, "config.page.limit")
    url = ask.path
    rows: list[dict[str, Any]] = []
    with httpx.Client(timeout=httpx.Timeout(read_, connect=connect), follow_redirects=True) as client:
        while url and len(rows) < limit:
            if rows:
                time.sleep(_seconds(given, "config.page.interval", 0.01))
            try:
                answer = client.request(method, url, **_content(given, method))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise TableError(f"{url} does not answer: {error}", place=ask.place) from None
            rows.append({"content": answer.content, "status": answer.status_code})
            url = _next(given, answer) if "config.page.next" in given else ""
    return ask.session.table(rows, _SCHEMA)


def _content(given: dict[str, str], method: str) -> dict[str, Any]:
    """The headers and the body of a request, as httpx takes them."""
    headers = {key.lower(): value for key, value in _part(given, "header.").items()}
    if method == "get":
        return {"headers": headers}
    if "body" in given:
        return {"headers": {"content-type": "application/json", **headers}, "content": given["body"].encode()}
    return {"headers": headers, "data": _part(given, "form.")}


def _part(given: dict[str, str], prefix: str) -> dict[str, str]:
    return {key[len(prefix) :]: value for key, value in given.items() if key.lower().startswith(prefix)}


def _next(given: dict[str, str], answer: httpx.Response) -> str:
    """The address of the next page; empty if the answer names none."""
    try:
        document = answer.json()
    except json.JSONDecodeError:
        return ""
    found = [_at(document, path.strip()) for path in given.get("config.page.values", "").split(",")]
    if any(value in (None, "") for value in found):
        return ""
    return re.sub(
        r"\{(\d+)\}",
        lambda match: str(found[int(match[1])]) if int(match[1]) < len(found) else "",
        given["config.page.next"],
    )


def _at(document: Any, path: str) -> Any:
    """The value at a path such as `$.page.next` or `$.items[0].id`; None if there is none."""
    if not re.fullmatch(r"\$(\.\w[\w-]*|\[\d+\])*", path):
        cure = "Write a path such as $.page.next."
        raise OptionError(f"{path!r} is not a path into JSON", cure=cure, key="config.page.values")
    for name, index in re.findall(r"\.(\w[\w-]*)|\[(\d+)\]", path):
        try:
            document = document[name or int(index)]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def _seconds(given: dict[str, str], key: str, default: float) -> float:
    if key not in given:
        return default
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min)", given[key].strip())
    if not found:
        raise OptionError(f"{given[key]!r} is not a time", cure=f'Write {key}="10s" or "500ms".', key=key)
    return float(found[1]) * _SECONDS[found[2]]
