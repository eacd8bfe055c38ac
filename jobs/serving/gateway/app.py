"""The gateway: OpenAI's HTTP API in front of the deployed models.

A batch is answered from the store where it can be, and one Serve call brings the rest. Other bodies are looked into
for the model's name only, and passed on as they came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson
from fastapi import FastAPI
from pydantic import ValidationError
from ray import serve
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sqlllm import wire
from sqlllm.settings import QuotaSettings, ServingSettings, StoreSettings
from sqlllm.version import __version__

from ..applications import recall
from ..protocol import IGNORED_FIELDS, JSON, RequestError, batch_response, conversations, parse_body, usage
from . import incoming, messages, streams
from .access import Access, Caller
from .answers import Answers, Choice
from .cors import Cors
from .incoming import Batch
from .limits import Limits
from .metrics import MEDIA_TYPE, Metrics, counted
from .models import FAILURES, Models, unavailable
from .store import Key, is_deterministic, keys, open_store
from .usage import Query, Report, UsageFile

_NOT_IN_KEYS = IGNORED_FIELDS | {"model"}  # the fingerprint says which model it is
_NO_CALL = "tokenize"  # of a model: it does not count against a quota

app = FastAPI(title="SQLLLM", docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(Cors)


@app.exception_handler(RequestError)
async def refuse(request: Request, error: RequestError) -> Response:
    """An error in OpenAI's shape, or in Anthropic's for a client of its protocol."""
    headers = {"Retry-After": f"{round(error.retry_after, 3):g}"} if error.status in (429, 503) else None
    body = messages.error_body(error) if request.url.path.startswith("/v1/messages") else error.to_json()
    return Response(body, error.status, headers, JSON)


@serve.ingress(app)
class Gateway:
    """One replica of the gateway; keeps answers and usage in files of `folder`."""

    def __init__(self, folder: Path, store: StoreSettings, quota: QuotaSettings, settings: ServingSettings) -> None:
        self.settings = settings
        self._access = Access(settings.api_key, settings.users)
        self._answers = Answers(open_store(store, folder))
        self._usage = UsageFile(folder)
        self._limits = Limits(self._usage, quota, settings.users)
        self._metrics = Metrics()
        self._models = Models()

    @app.get("/health")
    async def health(self) -> Response:
        """200 while the gateway is up."""
        return Response(b'{"status":"ok"}', media_type=JSON)

    @app.get("/version")
    async def version(self) -> Response:
        """The version of this package."""
        return Response(orjson.dumps({"version": __version__}), media_type=JSON)

    @app.get("/metrics")
    async def metrics(self, request: Request) -> Response:
        """What was done so far, as Prometheus reads it."""
        self._access.caller(request.headers).check_all()
        return Response(self._metrics.text(), media_type=MEDIA_TYPE)

    @app.get("/v1/models")
    async def models(self, request: Request) -> Response:
        """The models that the caller may use."""
        caller = self._access.caller(request.headers)
        data = [
            {"id": name, "object": "model", "created": model.created, "owned_by": "sqlllm"}
            for name, model in await self._models.all(caller)
        ]
        return Response(orjson.dumps({"object": "list", "data": data}), media_type=JSON)

    @app.get("/v1/models/{name:path}")
    async def model(self, request: Request, name: str) -> Response:
        """One model, with what its workers are now; one that has none is not woken, and tells what it was last."""
        caller = self._access.caller(request.headers)
        await self._models.refresh(older_than=0)
        model = await self._models.find(name, caller)
        kept = recall(model.name)
        told = {"id": name, "object": "model", "created": model.created, "owned_by": "sqlllm", "workers": model.workers}
        told |= {"spec": kept.shown() if kept else None, "routes": None, "meta": None}
        if model.workers:
            told |= await self._models.identify(model)
        return Response(orjson.dumps({**told, "fingerprint": model.fingerprint}), media_type=JSON)

    @app.post("/v1/chat/completions")
    async def chat(self, request: Request) -> Response:
        """One conversation, plain or as a stream."""
        return await self._forward(request, "chat")

    @app.post(wire.BATCH)
    async def chat_batch(self, request: Request) -> Response:
        """Many conversations, one choice each; a choice that was not made for this request is `cached` or `joined`.

        With `task` the choices are vectors or rankings; see `tasks`.
        """
        caller = self._access.caller(request.headers)
        query = incoming.statement(request, caller)
        batch = await self._batch(request, caller)
        model = batch.model
        statement, account = await self._limits.account(model.priced(query), model.name)

        async def ask(places: list[int]) -> tuple[list[Choice], bool]:
            return await self._call(batch, places)

        with self._metrics.request(model.name, batch.route):
            choices = await self._answers.choices(self._keys(batch, query.store), ask, statement, account)
        self._metrics.choices(model.name, choices)
        return Response(batch_response(model.name, choices), media_type=JSON)

    @app.post(wire.STORED)
    async def stored(self, request: Request) -> Response:
        """How many conversations of a batch have an answer in the store, as `{"stored": 3}`; calls no model."""
        batch = await self._batch(request, self._access.caller(request.headers))
        known = {key for key in self._keys(batch, "all") if key is not None}
        return Response(orjson.dumps({"stored": await self._answers.stored(list(known))}), media_type=JSON)

    @app.post(wire.USAGE)
    async def report(self, request: Request) -> Response:
        """What a task of the statement in the header says at its end."""
        caller = self._access.caller(request.headers)
        query = incoming.statement(request, caller)
        try:
            told = Report.model_validate_json(await request.body())
        except ValidationError as error:
            raise RequestError(f"this is no report of a task: {error.errors()[0]['msg']}") from None
        caller.check(told.model)
        await self._limits.report(query, told)
        return Response(b"{}", media_type=JSON)

    @app.post(wire.CANCEL)
    async def cancel(self, request: Request, session: str) -> Response:
        """Stop what the statements of a session have under way."""
        caller = self._access.caller(request.headers)
        if not session:
            raise RequestError("`session` is the id of a session", param="session")
        stopped = self._limits.cancel(f"{caller.name}/{session}" if caller.name else session)
        self._answers.cancel(stopped)
        return Response(orjson.dumps({"cancelled": len(stopped)}), media_type=JSON)

    @app.get(wire.USAGE)
    async def usage(self, request: Request, session: str = "", since: float = 0) -> Response:
        """Usage by statement and model: of the session with that id, or of all; changed after `since`.

        A user hears of his own, under the ids that he gave.
        """
        user = self._access.caller(request.headers).name
        own = f"{user}/" if user else ""
        prefix = session and own + session
        condition = "substr(query, 1, ?) = ? and updated > ? and ? in ('', user)"
        found = await self._usage.find(condition, len(prefix), prefix, since, user)
        told = [replace(one, query=one.query.removeprefix(own)) for one in found]
        return Response(orjson.dumps({"usage": told}), media_type=JSON)

    @app.post("/v1/completions")
    async def completions(self, request: Request) -> Response:
        """Raw prompts, plain or as a stream."""
        return await self._forward(request, "completions")

    @app.post("/v1/embeddings")
    async def embeddings(self, request: Request) -> Response:
        """Vectors of texts."""
        return await self._forward(request, "embeddings")

    @app.post("/v1/rerank")
    async def rerank(self, request: Request) -> Response:
        """Documents by their fit to a query."""
        return await self._forward(request, "rerank")

    @app.post("/v1/score")
    async def score(self, request: Request) -> Response:
        """The fit of pairs of texts."""
        return await self._forward(request, "score")

    @app.post("/v1/audio/speech")
    async def speech(self, request: Request) -> Response:
        """A text as sound."""
        return await self._forward(request, "speech")

    @app.post("/v1/audio/transcriptions")
    async def transcriptions(self, request: Request) -> Response:
        """What is said in a sound file, which comes as a form."""
        self._access.caller(request.headers)  # before the file is read
        return await self._forward(request, "transcriptions", await incoming.form(request))

    @app.post("/v1/images/generations")
    async def images(self, request: Request) -> Response:
        """Images of a text."""
        return await self._forward(request, "images")

    @app.post("/tokenize")
    async def tokenize(self, request: Request) -> Response:
        """The tokens of `prompt` or `messages`, as vLLM answers."""
        return await self._forward(request, "tokenize")

    @app.post("/v1/messages")
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

    @app.post("/v1/messages/count_tokens")
    async def count_tokens(self, request: Request) -> Response:
        """The tokens of a conversation in Anthropic's protocol; nothing is generated."""
        caller = self._access.caller(request.headers)
        chat = messages.chat_request({"max_tokens": 1, **parse_body(await request.body())})
        model = await self._models.find(chat.get("model"), caller)
        try:
            (count,) = await model.handle.count_tokens.remote([chat["messages"]])
        except FAILURES as error:
            raise unavailable(model.name, error) from error
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
        query = Query() if route == _NO_CALL else incoming.statement(request, caller)
        if (query.user or query.id) and not model.fingerprint:
            await self._models.identify(model)  # which tells its price
        spend, calling = await self._spend(model.priced(query), model.name)
        with self._metrics.request(model.name, route, calling) as counter:
            if fields.get("stream") and route in ("chat", "completions"):
                events = streams.events(model.for_turn(fields), model.name, route, body)
                events = streams.counted(events, len(body), spend, counter)
                first = await anext(events)  # until then a refusal can still have its own status
                counter.streams = True
                return streams.Stream(streams.whole(first, events, wrap, model.name), media_type="text/event-stream")
            try:
                status, answer, media_type = await model.for_turn(fields).ask.remote(route, body)
            except FAILURES as error:
                raise unavailable(model.name, error) from error
            counter.status = status
        if status == 200:
            spend(*(counted(answer) if media_type == JSON else (0, 0)))
        headers = {"Retry-After": "1"} if status in (429, 503) else None
        return Response(answer, status, headers, media_type)

    async def _spend(
        self, query: Query, name: str
    ) -> tuple[Callable[[int, int], None], AbstractContextManager[None] | None]:
        """What counts a request's tokens, and what it is in until it ends, for the limits of its statement and user.

        RequestError if one is reached.
        """
        if not (query.user or query.id):
            return partial(self._metrics.tokens, name), None
        statement, account = await self._limits.account(query, name)
        statement.allow(1)

        def spend(prompt: int, answer: int) -> None:
            self._metrics.tokens(name, prompt, answer)
            statement.spent(account, [{"usage": usage(prompt, answer)}])

        return spend, statement.calling(account, 1)

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
        params = {name: value for name, value in batch.params.items() if name not in _NOT_IN_KEYS}
        if store == "off" or (store == "on" and not (is_deterministic(params) or params.get("task"))):
            return [None] * len(batch.messages)
        return keys(batch.fingerprint, params, batch.messages)

    async def _call(self, batch: Batch, places: list[int]) -> tuple[list[Choice], bool]:
        """Have the model answer some of the conversations; whether it still is the model that the keys are for."""
        try:
            handle = batch.model.for_turn({"messages": batch.messages[places[0]]})
            called = handle.call.remote(batch.route, batch.part(places))
            try:
                status, answer, fingerprint = await called
            except asyncio.CancelledError:
                called.cancel()
                raise
        except FAILURES as error:
            raise unavailable(batch.model.name, error) from error
        if status != 200:
            raise RequestError.from_json(status, answer)
        choices = sorted(orjson.loads(answer)["choices"], key=lambda choice: choice.pop("index"))
        if fingerprint != batch.fingerprint:  # it is being replaced: ask which one it is now
            batch.model.fingerprint = ""
        return choices, fingerprint == batch.fingerprint
