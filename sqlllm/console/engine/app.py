"""The HTTP side: who asks, what for, and what is answered. Every answer is JSON."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from typing import Any
from urllib.parse import parse_qsl

import httpx
import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sqlllm.dialect import parse
from sqlllm.errors import ForbiddenError, LimitError, OptionError, ScriptError, ScriptErrors, SetupError, SQLLLMError
from sqlllm.places import mask_secrets
from sqlllm.session import Result, Session
from sqlllm.session.values import plain

from . import predict
from .jobs import Cancelled, Engine, Job
from .parameters import RunScript

LARGEST = 16 * 2**20  # bytes of a request
MOST = 1_000_000  # rows of an answer, in fetchType=collect
_GONE = 0.5  # seconds between two looks whether the client is still there

Handler = Callable[[Request], Awaitable[Response]]


def application(engine: Engine, keys: Mapping[str, str]) -> Starlette:
    """The routes. `keys`: owner by key; the owner `*` may be whoever the request says."""

    def guarded(handler: Callable[[Engine, str, Request], Awaitable[Response]]) -> Handler:
        async def handle(request: Request) -> Response:
            try:
                return await handler(engine, _owner(keys, request), request)
            except SQLLLMError as error:
                return _failed(error)

        return handle

    return Starlette(
        routes=[
            Route("/run/script", guarded(_run_script), methods=["POST"]),
            Route("/model/predict", guarded(_predict), methods=["POST"]),
            Route("/runningjobs", guarded(_running), methods=["GET", "POST"]),
            Route("/killjob", guarded(_kill), methods=["POST"]),
            Route("/jobs/{id}", guarded(_job), methods=["GET"]),
            Route("/check", _check, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _refused, Exception: _broken},
    )


async def _check(_: Request) -> Response:
    return _json({"status": "ok"})


async def _run_script(engine: Engine, who: str, request: Request) -> Response:
    asked = RunScript.of(await _form(request))
    owner = _allowed(who, asked.owner)
    if asked.executeMode == "analyze":
        return _json(await run_in_threadpool(_analyzed, asked.sql))
    if asked.callback and not asked.async_:
        raise OptionError("callback needs async=true", key="callback")

    def work(session: Session) -> bytes:
        return _dumped(_ran(session, asked))

    job = Job(asked.jobName, owner, mask_secrets(asked.sql))
    job.name = job.name or job.id
    engine.submit(job, work, alone=asked.sessionPerRequest, timeout=_seconds(asked.timeout))
    if not asked.async_:
        return await _outcome(job, request)
    if asked.callback:
        task = asyncio.create_task(_call_back(job, asked))
        _TASKS.add(task)
        task.add_done_callback(_TASKS.discard)
    return _json(job.to_dict(), 202)


_TASKS: set[asyncio.Task[None]] = set()  # else they could be collected under way


async def _predict(engine: Engine, who: str, request: Request) -> Response:
    asked = predict.Predict.of(await _form(request))
    job = Job("", _allowed(who, asked.owner), "")
    job.name = job.id
    work = predict.work(asked)

    def rows(session: Session) -> bytes:
        return _dumped(_rows(work(session), MOST))

    engine.submit(job, rows, alone=asked.sessionPerRequest, timeout=_seconds(asked.timeout))
    return await _outcome(job, request)


async def _running(engine: Engine, who: str, _: Request) -> Response:
    jobs = engine.jobs(None if who == "*" else who)
    return _json([{**job.to_dict(), "sql": job.sql} for job in jobs if not job.ended])


async def _kill(engine: Engine, who: str, request: Request) -> Response:
    form = await _form(request)
    if form.keys() not in ({"groupId"}, {"jobName"}):
        raise OptionError("killjob takes groupId or jobName")
    (wanted,) = form.values()
    found = [job for job in engine.jobs(None if who == "*" else who) if wanted in (job.id, job.name) and not job.ended]
    for job in found:
        job.cancel("the job was cancelled")
    if not found:
        raise HTTPException(404, f"no job {wanted} is under way")
    return _json([job.to_dict() for job in found])


async def _job(engine: Engine, who: str, request: Request) -> Response:
    wanted = request.path_params["id"]
    for job in engine.jobs(None if who == "*" else who):
        if job.id == wanted:
            return _json(job.to_dict() | (_told(job.future) if job.ended else {}))
    raise HTTPException(404, f"there is no job {wanted}, or it ended long ago")


# --- a job's work, in its thread ---------------------------------------------------------------------------------


def _ran(session: Session, asked: RunScript) -> Any:
    """Run the script and take the rows of its last table."""
    script = parse(asked.sql, "sql")
    if script.errors:
        raise ScriptErrors.of(script.errors)
    with asked.given(session):
        result = session.run_all(script.statements)
        if result is None or asked.silence:
            return {"schema": None, "data": []} if asked.includeSchema else []
        take = asked.fetchType == "take"
        data = _rows(result, asked.outputSize if take else MOST, cut=take)
        return {"schema": json.loads(result.frame.schema.json()), "data": data} if asked.includeSchema else data


def _rows(result: Result, most: int, *, cut: bool = False) -> list[dict[str, Any]]:
    rows = result.rows(most if cut else most + 1)
    if len(rows) > most:
        raise LimitError(f"the table has more than {most:,} rows", cure="Save it, and read the files.")
    return [row.asDict(recursive=True) for row in rows]


def _analyzed(sql: str) -> list[dict[str, Any]]:
    script = parse(sql, "sql")
    if script.errors:
        raise ScriptErrors.of(script.errors)
    return [
        {"statement": type(one).__name__, "line": one.place.line, "column": one.place.column, "raw": one.place.text}
        for one in script.statements
    ]


# --- answers -----------------------------------------------------------------------------------------------------


async def _outcome(job: Job, request: Request) -> Response:
    """The job's rows, which are not kept, or its error; a client that goes away cancels it."""
    future = asyncio.wrap_future(job.future)
    while not (await asyncio.wait({future}, timeout=_GONE))[0]:
        if await request.is_disconnected():
            job.cancel("the client went away")
    job.drop()
    if (error := future.exception()) is not None:
        return _failed(error)
    return Response(future.result(), headers={"X-Job": job.id}, media_type="application/json")


def _told(future: Future[bytes] | asyncio.Future[bytes]) -> dict[str, Any]:
    error = future.exception()
    return {"result": orjson.Fragment(future.result())} if error is None else {"error": _described(error)}


async def _call_back(job: Job, asked: RunScript) -> None:
    """Post the job's result, as Byzer does: a form of stat, res and jobInfo; again if it is not accepted."""
    future = asyncio.wrap_future(job.future)
    await asyncio.wait({future})
    told = _told(future)
    form = {
        "stat": "succeeded" if "result" in told else "failed",
        "res": _dumped(told.get("result", told.get("error"))).decode(),
        "jobInfo": _dumped(job.to_dict()).decode(),
    }
    async with httpx.AsyncClient(timeout=60) as client:
        for attempt in range(asked.maxRetries + 1):
            try:
                answer = await client.post(asked.callback, data=form, headers=asked.callbackHeader)
                if answer.is_success:
                    return
                told_why = f"status {answer.status_code}"
            except httpx.HTTPError as error:
                told_why = type(error).__name__
            job.messages.append(f"note: the callback was not taken ({told_why})")
            await asyncio.sleep(min(2**attempt, 60))


def _failed(error: BaseException) -> Response:
    return _json(_described(error), _status(error))


def _described(error: BaseException) -> dict[str, Any]:
    if isinstance(error, ScriptErrors):
        return {**error.to_dict(), "errors": [one.to_dict() for one in error.errors]}
    if isinstance(error, SQLLLMError):
        return error.to_dict()
    return {"error": type(error).__name__, "message": "This is a fault of SQLLLM's; the engine's log has more."}


def _status(error: BaseException) -> int:
    if isinstance(error, Cancelled):
        return error.status
    for kind, status in ((ForbiddenError, 403), (ScriptError, 400), (LimitError, 429), (SetupError, 503)):
        if isinstance(error, kind):
            return status
    return 500 if not isinstance(error, SQLLLMError) else 422


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = {"WWW-Authenticate": "Bearer"} if error.status_code == 401 else {}
    return _json({"error": "Refused", "message": error.detail}, error.status_code, headers)


async def _broken(_: Request, error: Exception) -> Response:
    return _failed(error)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_dumped(value), status, headers, "application/json")


def _dumped(value: Any) -> bytes:
    return orjson.dumps(value, default=plain, option=orjson.OPT_NON_STR_KEYS)


# --- requests ----------------------------------------------------------------------------------------------------


def _owner(keys: Mapping[str, str], request: Request) -> str:
    """Whose key came with the request."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    owners = [owner for key, owner in keys.items() if hmac.compare_digest(key.encode(), given.strip().encode())]
    if scheme.lower() != "bearer" or not owners:
        raise HTTPException(401, "send a key: Authorization: Bearer KEY")
    return owners[0]


def _allowed(who: str, asked: str) -> str:
    if who != "*" and asked not in ("", who):
        raise HTTPException(403, f"the key is {who}'s, not {asked}'s")
    return (asked or "admin") if who == "*" else who


async def _form(request: Request) -> dict[str, Any]:
    """The parameters, of a form or of an object in JSON."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise HTTPException(413, f"a request has at most {LARGEST:,} bytes")
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip()
    try:
        if kind == "application/json":
            values = json.loads(body)
        elif kind == "application/x-www-form-urlencoded":
            values = dict(_pairs(body))
        else:
            raise HTTPException(415, "send a form (application/x-www-form-urlencoded) or application/json")
    except ValueError as error:
        raise HTTPException(400, f"the body cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise HTTPException(400, "the body is not an object")
    if isinstance(headers := values.get("callbackHeader"), str):
        try:
            values["callbackHeader"] = json.loads(headers)
        except ValueError:
            raise OptionError("callbackHeader is not a JSON object", key="callbackHeader") from None
    return values


def _pairs(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body))


def _seconds(milliseconds: int) -> float | None:
    return None if milliseconds < 0 else milliseconds / 1000
