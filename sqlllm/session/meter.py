"""What statements may use of models, and what they used: counted by the gateway, shown by the console."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import httpx

from sqlllm import wire
from sqlllm.errors import ModelError
from sqlllm.jobs import cluster
from sqlllm.jobs.serving.gateway import usage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sqlllm.jobs.serving import Serving
    from sqlllm.places import Place
    from sqlllm.udfs.transport import Endpoint

    from .session import Session

_LIMITS = ("store", "max_calls", "max_tokens", "max_cost", "max_seconds", "calls_per_minute", "tokens_per_minute")
_SHARED = ("batch_size", "rows_per_prompt", "in_flight", "timeout", "retry_seconds")
_FEWEST = 8  # rows of a task that are asked at first where a LIMIT may end it
_STATEMENT = 200  # characters of a statement in the record


@dataclass(slots=True)
class Used:
    """What was used since the last report; the fields are those of `jobs.serving.gateway.usage.Usage`."""

    rows: int = 0
    calls: int = 0
    cached: int = 0
    joined: int = 0
    failed: int = 0
    retried: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0

    @property
    def prompts(self) -> int:
        """That have their answer."""
        return self.calls + self.cached + self.joined

    @property
    def tokens_per_second(self) -> float:
        """Made by the models while they were busy."""
        return self.answer_tokens / self.seconds if self.seconds else 0.0


class Meter:
    """One session's: gives each statement that calls models an id, and asks the gateway what it came to."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._id = secrets.token_hex(6)
        self._statements = 0
        self._begun: list[tuple[str, Endpoint]] = []  # functions of the last statement
        self._known: dict[tuple[str, str], Used] = {}
        self._since = 0.0

    def open(self, text: str) -> usage.Query:
        """A new statement `text`, which asks from the driver before Spark does."""
        return self._query(text)

    def of(self, model: str, query: usage.Query) -> Endpoint:
        """Where the driver asks `model` for that statement. ModelError for a model that is not counted."""
        found = self._session.models.find(model)
        if found is None or found.endpoint is None:
            raise ModelError(f"{model} is a function without an endpoint", cure="Deploy it, or register it as remote.")
        return self._fitted(found.endpoint, query)

    def begin(self, text: str, calls: Collection[str], *, limit: int = 0, query: usage.Query | None = None) -> str:
        """Begin the statement `text`, as the user wrote it, which `calls` these models (names in lower case).

        Its use is counted under the id that this gives; empty if it is not counted. `limit`: the rows that are enough.
        `query` is the statement if it has been opened.
        """
        counted = [(model.name, model.endpoint) for name in calls if (model := self._session.models[name]).endpoint]
        self._begun = []
        if not counted:
            return ""
        from sqlllm.udfs import model as functions

        query = query or self._query(text)
        first = limit and max(limit, _FEWEST)
        self._begun = [(name, replace(self._fitted(endpoint, query), first=first)) for name, endpoint in counted]
        for name, fitted in self._begun:
            functions.register(self._session.spark, name, fitted)
        return query.id

    def ask_all(self) -> None:
        """From here on the statement that has begun asks about each row that its model functions get, at once."""
        from sqlllm.udfs import model as functions

        for name, fitted in self._begun:
            functions.register(self._session.spark, name, replace(fitted, first=0))

    def endpoint(self, name: str, text: str) -> Endpoint | None:
        """Where the model `name` is asked by the statement `text`, which begins; None if no model has that name."""
        found = self._session.models.get(name.lower())
        return self._fitted(found.endpoint, self._query(text)) if found and found.endpoint else None

    def _query(self, text: str) -> usage.Query:
        """A new statement."""
        self._statements += 1
        settings = self._session.settings.llm
        return usage.Query(
            id=f"{self._id}-{self._statements}",
            user=self._session.user,
            statement=self._session.mask(" ".join(text.split()))[:_STATEMENT],
            prices=settings.price_table,
            **settings.model_dump(include=set(_LIMITS)),
        )

    def _fitted(self, endpoint: Endpoint, query: usage.Query) -> Endpoint:
        """An endpoint as the settings are now, for a statement."""
        settings = self._session.settings.llm
        other = self._session.models.find(settings.fallback)
        return replace(
            endpoint,
            fallback_url=other.endpoint.url if other and other.endpoint else "",
            **{key: getattr(settings, key) for key in _SHARED},
            fails=settings.on_error == "fail",
            keeps=settings.store != "off",
            overlong=settings.overlong,
            fallback=settings.fallback,
            query=json.dumps(query.model_dump(exclude_defaults=True)),  # ASCII, as a header must be
        )

    def check_failures(self, id: str, frame: DataFrame, place: Place | None) -> None:  # noqa: A002
        """ModelError if more rows of a statement have no answer than `llm.on_error` allows, which computes it."""
        allowed = re.fullmatch(r"fail_above\(\s*([\d.]+)\s*%\s*\)", self._session.settings.llm.on_error)
        if not id or not allowed:
            return
        frame.count()
        found = [one for one in self._fetch(self._session.serving, 0.0) if one["query"] == id]
        rows, failed = sum(one["rows"] for one in found), sum(one["failed"] for one in found)
        if failed > rows * float(allowed[1]) / 100:
            raise ModelError(
                f"{failed:,} of {rows:,} rows have no answer, which is more than {allowed[1]} %",
                cure='llm_error says why, row by row, with: set llm.on_error = "null";',
                place=place,
            )

    def tell(self) -> Used | None:
        """What was used since the last time; None if that is nothing."""
        if not (serving := self._serving):
            return None
        try:
            total, now = self._untold(serving)
        except ModelError:  # the gateway is being replaced; it will be reported with the next statement
            return None
        self._known |= {key: used for key, (used, _) in now.items()}
        self._since = max([self._since, *(updated for _, updated in now.values())])
        return total

    def running(self) -> Used | None:
        """The same while a statement runs, without reporting it; from any thread. ModelError if it cannot be asked."""
        return self._untold(serving)[0] if (serving := self._serving) else None

    def cancel(self) -> None:
        """Have the gateway stop what the statements so far have under way, if it can be reached; from any thread."""
        if serving := self._serving:
            with suppress(ModelError):
                _ask(serving.client(timeout=30), "POST", wire.CANCEL, {"session": self._id})

    @property
    def _serving(self) -> Serving | None:
        """Where the statements so far were counted; None if nowhere. It starts nothing: the session may be closed."""
        serving: Serving | None = self._session.__dict__.get("serving") if self._statements else None
        return serving if serving and serving.endpoint else None

    def _untold(self, serving: Serving) -> tuple[Used | None, dict[tuple[str, str], tuple[Used, float]]]:
        """What was not yet reported, and for each query and model the whole and when it changed."""
        total, found = Used(), dict[tuple[str, str], tuple[Used, float]]()
        for one in self._fetch(serving, self._since):
            key = one["query"], one["model"]
            now = Used(**{field.name: one[field.name] for field in fields(Used)})
            before = self._known.get(key, Used())
            found[key] = now, one["updated"]
            for name in asdict(now):
                setattr(total, name, getattr(total, name) + getattr(now, name) - getattr(before, name))
        return (total if found else None), found

    def _fetch(self, serving: Serving, since: float) -> list[dict[str, Any]]:
        return _usage(serving, {"session": f"{self._id}-", "since": since})


def fetch(session: Session, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Usage as the gateway knows it; ModelError if it does not answer."""
    if not session.serving.endpoint:
        if not cluster.address(session.settings.ray):  # no model was called
            return usage.read(session.settings.home.expanduser() / "serving")
        session.serving.start()
    return _usage(session.serving, parameters)


def _usage(serving: Serving, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _ask(serving.client(timeout=30), "GET", wire.USAGE, parameters)["usage"]
    return found


def _ask(client: httpx.Client, method: str, path: str, parameters: dict[str, Any]) -> Any:
    try:
        with client as http:
            reply = http.request(method, path, params=parameters).raise_for_status()
    except httpx.HTTPError as error:
        raise ModelError(f"the gateway does not say what was used: {error}") from error
    return reply.json()


def recorded(session: Session) -> list[dict[str, Any]]:
    """The usage of all statements, the oldest first: the gateway's if there is one, else what is on file here."""
    if session.serves or cluster.address(session.settings.ray):
        return fetch(session, {})
    return usage.read(session.settings.home.expanduser() / "serving")
