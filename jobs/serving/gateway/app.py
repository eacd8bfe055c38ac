"""The gateway: OpenAI's HTTP API in front of the deployed models, as an ASGI application that runs anywhere.

Every answer takes one path, whatever its route: key, limits, store, join, call, count, keep, cancel (`answers`). Bodies
are looked into for what that path needs, and passed on as they came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from sqlllm import wire
from sqlllm.retrieval import places
from sqlllm.settings import QuotaSettings, ServingSettings, StoreSettings
from sqlllm.version import __version__

from ..protocol import JSON, RequestError, batch_response, conversations, parse_body, usage
from . import doors, incoming, messages, responses, single, streams
from .access import Access, Caller
from .answers import Answers, Choice, stopped
from .incoming import Batch
from .indexes import IndexSearch
from .limits import Limits, Statement
from .metrics import MEDIA_TYPE, Metrics
from .models import Model, Models
from .store import Key, is_deterministic, keys, open_store
from .usage import Account, Query, Report, UsageFile

_NO_CALL = "tokenize"  # of a model: it does not count against a quota
_STREAMED = ("chat", "completions")
Prices = Mapping[str, tuple[float, float]]


async def refuse(request: Request, error: Exception) -> Response:
    """An error in OpenAI's shape, or in Anthropic's for a client of its protocol."""
    if not isinstance(error, RequestError):
        error = RequestError(f"the gateway has no {request.url.path}", status=404, code="unknown_route")
    headers = {"Retry-After": f"{round(error.retry_after, 3):g}"} if error.status in (429, 503) else None
    body = messages.error_body(error) if request.url.path.startswith("/v1/messages") else error.to_json()
    return Response(body, error.status, headers, JSON)


def application(gateway: Gateway) -> ASGIApp:
    """The ASGI application of a gateway."""
    routes = [
        Route(path, getattr(gateway, name), methods=[method])
        for method, path, name in (
            ("GET", "/health", "health"),
            ("GET", "/version", "version"),
            ("GET", "/metrics", "metrics"),
            ("GET", "/v1/models", "models"),
            ("GET", "/v1/models/{name:path}", "model"),
            ("POST", "/v1/chat/completions", "chat"),
            ("POST", wire.BATCH, "chat_batch"),
            ("POST", wire.STORED, "stored"),
            ("POST", wire.USAGE, "report"),
            ("GET", wire.USAGE, "usage"),
            ("POST", wire.CANCEL, "cancel"),
            ("POST", "/v1/completions", "completions"),
            ("POST", "/v1/embeddings", "embeddings"),
            ("POST", "/v1/rerank", "rerank"),
            ("POST", "/v1/score", "score"),
            ("POST", "/v1/audio/speech", "speech"),
            ("POST", "/v1/audio/transcriptions", "transcriptions"),
            ("POST", "/v1/images/generations", "images"),
            ("POST", "/tokenize", "tokenize"),
            ("POST", "/v1/responses", "responses"),
            ("POST", "/v1/vector_stores/{name}/search", "vector_search"),
            ("POST", "/v1/messages", "anthropic"),
            ("POST", "/v1/messages/count_tokens", "count_tokens"),
        )
    ]
    app = Starlette(routes=routes, exception_handlers={RequestError: refuse, 404: refuse, 405: refuse})
    return doors.guarded(app, gateway.settings)


class Refused(Exception):
    """A model's refusal of a single request, which its client gets as it is."""

    def __init__(self, status: int, body: bytes, media_type: str) -> None:
        super().__init__(status)
        self.response = Response(body, status, {"Retry-After": "1"} if status in (429, 503) else None, media_type)


class Gateway:
    """One gateway; keeps answers and usage in files of `folder`. `prices` and `indexes` are of its own settings."""

    def __init__(
        self,
        folder: Path,
        store: StoreSettings,
        quota: QuotaSettings,
        settings: ServingSettings,
        models: Models,
        prices: Prices | None = None,
        indexes: str = "",
    ) -> None:
        self.settings = settings
        self._indexes = places.folder(indexes, folder.parent)
        self._access = Access(settings.api_key, settings.users)
        self._answers = Answers(open_store(store, folder))
        self._usage = UsageFile(folder)
        self._limits = Limits(self._usage, quota, settings.users)
        self._metrics = Metrics()
        self._models = models
        self._prices = prices or {}

    async def close(self) -> None:
        """Stop what is under way, and write what is known."""
        await self._answers.close()
        self._usage.close()

    async def health(self, _: Request) -> Response:
        """200 while the gateway is up."""
        return Response(b'{"status":"ok"}', media_type=JSON)

    async def version(self, _: Request) -> Response:
        """The version of this package."""
        return Response(orjson.dumps({"version": __version__}), media_type=JSON)

    async def metrics(self, request: Request) -> Response:
        """What was done so far, as Prometheus reads it."""
        self._access.caller(request.headers).check_all()
        return Response(self._metrics.text(), media_type=MEDIA_TYPE)

    async def models(self, request: Request) -> Response:
        """The models that the caller may use."""
        caller = self._access.caller(request.headers)
        data = [
            {"id": name, "object": "model", "created": model.created, "owned_by": "sqlllm"}
            for name, model in await self._models.all(caller)
        ]
        return Response(orjson.dumps({"object": "list", "data": data}), media_type=JSON)

    async def model(self, request: Request) -> Response:
        """One model, with what its workers are now; without workers it is not woken, and shows what it was last."""
        caller, name = self._access.caller(request.headers), request.path_params["name"]
        await self._models.refresh(older_than=0)
        model = await self._models.find(name, caller)
        kept = self._models.spec(model.name)
        told = {"id": name, "object": "model", "created": model.created, "owned_by": "sqlllm", "workers": model.workers}
        told |= {"spec": kept.shown() if kept else None, "routes": None, "meta": None}
        if model.workers:
            told |= await self._models.identify(model)
        return Response(orjson.dumps({**told, "fingerprint": model.fingerprint}), media_type=JSON)

    async def chat(self, request: Request) -> Response:
        """One conversation, plain or as a stream."""
        return await self._forward(request, "chat")

    async def chat_batch(self, request: Request) -> Response:
        """Many conversations, one choice each; a choice that was not made for this request is `cached` or `joined`.

        With `task` the choices are vectors or rankings; see `tasks`.
        """
        caller = self._access.caller(request.headers)
        query = incoming.statement(request, caller)
        batch = await self._batch(request, caller)
        model = batch.model
        statement, account = await self._limits.account(self._priced(query, model, caller), model.name)

        async def ask(places: list[int]) -> tuple[list[Choice], bool]:
            return await self._call(batch, places)

        with self._metrics.request(model.name, batch.route):
            found = self._answers.choices(self._keys(batch, query.store), ask, statement, account)
            choices = await _not_stopped(found)
        self._metrics.choices(model.name, choices)
        return Response(batch_response(model.name, choices), media_type=JSON)

    async def stored(self, request: Request) -> Response:
        """How many conversations of a batch have an answer in the store, as `{"stored": 3}`; calls no model."""
        batch = await self._batch(request, self._access.caller(request.headers))
        known = {key for key in self._keys(batch, "all") if key is not None}
        return Response(orjson.dumps({"stored": await self._answers.stored(list(known))}), media_type=JSON)

    async def report(self, request: Request) -> Response:
        """What a task of the statement in the header says at its end."""
        caller = self._access.caller(request.headers)
        query = incoming.statement(request, caller)
        try:
            told = Report.model_validate_json(await request.body())
        except ValidationError as error:
            raise RequestError(f"this is not a report of a task: {error.errors()[0]['msg']}") from None
        caller.check(told.model)
        await self._limits.report(query, told)
        return Response(b"{}", media_type=JSON)

    async def cancel(self, request: Request) -> Response:
        """Stop what the statements of a session have under way."""
        caller, session = self._access.caller(request.headers), request.query_params.get("session", "")
        if not session:
            raise RequestError("`session` is the id of a session", param="session")
        stopped = self._limits.cancel(f"{caller.name}/{session}" if caller.name else session)
        self._answers.cancel(stopped)
        return Response(orjson.dumps({"cancelled": len(stopped)}), media_type=JSON)

    async def usage(self, request: Request) -> Response:
        """Usage by statement and model: of the session with that id, or of all; changed after `since`.

        A user sees their own statements, under the ids that they gave.
        """
        user, asked = self._access.caller(request.headers).name, request.query_params
        session, since = asked.get("session", ""), incoming.number(asked, "since")
        own = f"{user}/" if user else ""
        prefix = session and own + session
        condition = "substr(query, 1, ?) = ? and updated > ? and ? in ('', user)"
        found = await self._usage.find(condition, len(prefix), prefix, since, user)
        told = [replace(one, query=one.query.removeprefix(own)) for one in found]
        return Response(orjson.dumps({"usage": told}), media_type=JSON)

    async def completions(self, request: Request) -> Response:
        """Raw prompts, plain or as a stream."""
        return await self._forward(request, "completions")

    async def embeddings(self, request: Request) -> Response:
        """Vectors of texts."""
        return await self._forward(request, "embeddings")

    async def rerank(self, request: Request) -> Response:
        """Documents by their fit to a query."""
        return await self._forward(request, "rerank")

    async def score(self, request: Request) -> Response:
        """The fit of pairs of texts."""
        return await self._forward(request, "score")

    async def vector_search(self, request: Request) -> Response:
        """The rows of an index that answer a question, as OpenAI's vector stores answer."""
        caller = self._access.caller(request.headers)
        search = IndexSearch(request.path_params["name"], parse_body(await request.body()), self._indexes)
        about = await asyncio.to_thread(search.open)
        vectors: list[Any] = [None] * len(search.queries)
        if about.model:
            caller.check(about.model)
        if search.embeds:
            body = orjson.dumps({"model": about.model, "input": search.queries})
            answer = await self._forward(request, "embeddings", body)
            if answer.status_code != 200:
                return answer
            data = orjson.loads(bytes(answer.body))["data"]
            vectors = [one["embedding"] for one in sorted(data, key=lambda one: int(one.get("index", 0)))]
        return Response(await asyncio.to_thread(search.run, vectors), media_type=JSON)

    async def speech(self, request: Request) -> Response:
        """A text as sound."""
        return await self._forward(request, "speech")

    async def transcriptions(self, request: Request) -> Response:
        """What is said in a sound file, which comes as a form."""
        self._access.caller(request.headers)  # before the file is read
        return await self._forward(request, "transcriptions", await incoming.form(request))

    async def images(self, request: Request) -> Response:
        """Images of a text."""
        return await self._forward(request, "images")

    async def tokenize(self, request: Request) -> Response:
        """The tokens of `prompt` or `messages`, as vLLM answers."""
        return await self._forward(request, "tokenize")

    async def responses(self, request: Request) -> Response:
        """One conversation in OpenAI's Responses API, plain or as a stream."""
        self._access.caller(request.headers)  # before the body is read
        asked = parse_body(await request.body())
        chat = orjson.dumps(responses.chat_request(asked))
        answer = await self._forward(request, "chat", chat, wrap=responses.events(asked))
        if isinstance(answer, StreamingResponse) or answer.status_code != 200:
            return answer
        body = orjson.dumps(responses.response(asked, orjson.loads(bytes(answer.body))))
        marks = {name: value for name, value in answer.headers.items() if name == wire.CACHE_HEADER}
        return Response(body, 200, marks, JSON)

    async def anthropic(self, request: Request) -> Response:
        """One conversation in Anthropic's protocol, plain or as a stream."""
        self._access.caller(request.headers)  # before the body is read
        chat = messages.chat_request(parse_body(await request.body()))
        answer = await self._forward(request, "chat", orjson.dumps(chat), wrap=messages.events)
        if isinstance(answer, StreamingResponse):
            return answer
        if answer.status_code != 200:
            raise RequestError.from_json(answer.status_code, bytes(answer.body))
        return Response(orjson.dumps(messages.message(orjson.loads(bytes(answer.body)))), media_type=JSON)

    async def count_tokens(self, request: Request) -> Response:
        """The tokens of a conversation in Anthropic's protocol; nothing is generated."""
        caller = self._access.caller(request.headers)
        chat = messages.chat_request({"max_tokens": 1, **parse_body(await request.body())})
        model = await self._models.find(chat.get("model"), caller)
        (count,) = await model.worker.count_tokens([chat["messages"]])
        return Response(orjson.dumps({"input_tokens": count}), media_type=JSON)

    async def _forward(
        self, request: Request, route: str, body: bytes | None = None, wrap: streams.Wrap | None = None
    ) -> Response:
        """Have a model answer a body as it came; `wrap` makes other events of a stream's."""
        caller = self._access.caller(request.headers)
        body = await request.body() if body is None else body
        fields = parse_body(body)
        model = await self._models.find(fields.get("model"), caller)
        body = incoming.renamed(model, fields, body)
        if route == _NO_CALL:
            status, answer, media_type, _ = await model.worker.ask(route, body)
            return Response(answer, status, media_type=media_type)
        query = incoming.statement(request, caller)
        if not model.fingerprint:
            await self._models.identify(model)
        statement, account = await self._limits.account(self._priced(query, model, caller), model.name)
        streamed = bool(fields.get("stream")) and route in _STREAMED
        key = None if streamed and route != "chat" else single.key(route, model.fingerprint, fields, query.store)
        call = _Call(model, route, body, fields, statement, account)
        if streamed:
            return await self._stream(call, key, wrap)
        fresh: list[tuple[bytes, str]] = []

        async def ask(_: list[int]) -> tuple[list[Choice], bool]:
            status, answer, media_type, fingerprint = await model.worker.for_turn(fields).ask(route, body)
            if status != 200:
                raise Refused(status, answer, media_type)
            fresh.append((answer, media_type))
            found = single.choice(route, answer, media_type)
            if fingerprint != model.fingerprint:  # it is being replaced: ask which one it is now
                model.fingerprint = ""
                return [found], False
            return [found], single.may_be_kept(found)

        with self._metrics.request(model.name, route) as counter:
            try:
                (found,) = await _not_stopped(self._answers.choices([key], ask, statement, account))
                if "error" in found:  # of a batch: the model says it as a response
                    (found,) = await _not_stopped(self._answers.choices([None], ask, statement, account))
            except Refused as refused:
                counter.status = refused.response.status_code
                return refused.response
        mark = next((mark for mark in ("cached", "joined") if mark in found), "")
        if mark:
            return Response(single.body(found, model.name), 200, {wire.CACHE_HEADER: mark}, JSON)
        told = found.get("usage") or {}
        self._metrics.tokens(model.name, told.get("prompt_tokens", 0), told.get("completion_tokens", 0))
        answer, media_type = fresh[-1]
        return Response(answer, 200, None, media_type)

    async def _stream(self, call: _Call, key: Key | None, wrap: streams.Wrap | None) -> Response:
        """The events of one answer."""
        model, statement, account = call.model, call.statement, call.account
        with_usage = bool((call.fields.get("stream_options") or {}).get("include_usage"))
        with self._metrics.request(model.name, call.route) as counter:

            async def pump(shared: streams.Shared) -> None:
                statement.allow(1)
                with ExitStack() as held:
                    held.enter_context(statement.calling(account, 1))

                    def spend(prompt: int, answer: int) -> None:
                        held.close()
                        self._metrics.tokens(model.name, prompt, answer)
                        statement.spent(account, [{"usage": usage(prompt, answer)}])

                    source = streams.events(model.worker.for_turn(call.fields), call.route, call.body)
                    async for piece in streams.counted(source, len(call.body), spend, counter):
                        shared.add(piece)

            events, mark = await self._answers.stream(
                key, pump, statement, account, with_usage=with_usage, model=model.name
            )
            first = await anext(events)  # until then a refusal can still have its own status
            counter.streams = not mark
            headers = {wire.CACHE_HEADER: mark} if mark else None
            shown = streams.whole(first, events, wrap, model.name)
            return streams.Stream(shown, 200, headers, media_type=wire.EVENT_STREAM)

    def _priced(self, query: Query, model: Model, caller: Caller) -> Query:
        """The query with the gateway's own price of a model, where it has one: then the caller's does not count."""
        price = model.price
        if price is None and (caller.name or not query.prices.keys() & {model.name, "*"}):
            price = self._prices.get(model.name) or self._prices.get("*")
        return query if price is None else query.model_copy(update={"prices": {model.name: price}})

    async def _batch(self, request: Request, caller: Caller) -> Batch:
        body = await request.body()
        fields = parse_body(body)
        incoming.check_task(fields)
        model = await self._models.find(fields.get("model"), caller)
        if not model.fingerprint:
            await self._models.identify(model)
        body = incoming.renamed(model, fields, body)
        messages = conversations(fields)  # which takes them out of the fields
        return Batch(model, model.fingerprint, body, messages, {**fields, "model": model.name})

    def _keys(self, batch: Batch, store: str) -> Sequence[Key | None]:
        """The keys of a batch's conversations; None if its answers are not to be kept."""
        params = single.asked(batch.params)
        if store == "off" or (store == "on" and not (is_deterministic(params) or params.get("task"))):
            return [None] * len(batch.messages)
        return keys(batch.fingerprint, params, batch.messages)

    async def _call(self, batch: Batch, places: list[int]) -> tuple[list[Choice], bool]:
        """Have the model answer some of the conversations; whether it still is the model that the keys are for."""
        worker = batch.model.worker.for_turn({"messages": batch.messages[places[0]]})
        status, answer, _, fingerprint = await worker.ask(batch.route, batch.part(places))
        if status != 200:
            raise RequestError.from_json(status, answer)
        choices = sorted(orjson.loads(answer)["choices"], key=lambda choice: choice.pop("index"))
        if fingerprint != batch.fingerprint:  # it is being replaced: ask which one it is now
            batch.model.fingerprint = ""
        return choices, fingerprint == batch.fingerprint


@dataclass(frozen=True)
class _Call:
    """A single request for a model, and who pays."""

    model: Model
    route: str
    body: bytes
    fields: dict[str, Any]
    statement: Statement
    account: Account


async def _not_stopped(choices: Awaitable[list[Choice]]) -> list[Choice]:
    """The choices; RequestError if their statement was cancelled, and not this request."""
    try:
        return await choices
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise stopped() from None
