"""A conversation with a model, step by step: the request, its answer whole or as a stream, tools, typed answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, TypeVar

from sqlllm.errors import AnswerError, LimitError, ProviderError

from . import json_tools
from .answers import Gathered, ended, gathered
from .effects import Call, Emit, Read, Steps
from .endpoint import Endpoint
from .replies import Delta, Reply, Usage
from .requests import Policy, exchange, loads, not_json, post, raise_for, received, well_formed
from .sse import Events
from .tools import Outcome, Tools, outcome
from .typed import Shape

T = TypeVar("T")
_TYPED_TRIES = 3
# What a model was found not to take, by endpoint, model and feature: it is not tried again in this process.
_lacking: dict[tuple[str, str, str], None] = {}
_REMEMBERED = 1024
# Words of a provider that does not take a field, rather than a value of it.
_SIGNS = ("support", "unknown", "unrecog", "unexpected", "extra", "permitted", "require", "cannot", "parser", "allowed")


@dataclass(frozen=True)
class Limits:
    """Of tools: rounds of calls, calls in all, and seconds that one may take."""

    max_rounds: int = 5
    max_calls: int = 20
    tool_timeout: float | None = 120.0


@dataclass(frozen=True)
class Ask:
    """What is asked, of whom, and how."""

    endpoint: Endpoint
    model: str
    messages: list[dict[str, Any]]
    params: Mapping[str, Any] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    tools: Tools = field(default_factory=Tools)
    limits: Limits = field(default_factory=Limits)
    shape: Shape[Any] | None = None
    price: tuple[float, float] | None = None
    json_tools: bool = False  # tools by JSON in the answer, for a model that has no tool calls

    def lacks(self, feature: str) -> bool:
        """Whether the model was found not to take `tools`, `response_format` or `stream_options`."""
        return (self.endpoint.base, self.model, feature) in _lacking

    def learn(self, feature: str) -> None:
        """It does not take a feature."""
        while len(_lacking) >= _REMEMBERED:
            _lacking.pop(next(iter(_lacking)), None)
        _lacking[self.endpoint.base, self.model, feature] = None


def converse(ask: Ask, *, stream: bool = False) -> Steps[Reply[Any]]:
    """The answer, after what tools it needs and as the type that is asked for; a stream emits its `Delta`s.

    Raises: ProviderError, AnswerError, LimitError (more rounds or calls of tools than are allowed).
    """
    usage, values, calls = Usage(), [], 0  # type: tuple[Usage, list[Any], int]
    for number in count(1):
        reply = yield from _typed(ask, stream)
        usage += reply.usage
        reply = replace(reply, usage=usage, values=tuple(values), cost=_cost(ask, usage, reply))
        if not reply.tool_calls or not ask.tools.runs or ask.limits.max_rounds == 0:
            return reply
        calls += len(reply.tool_calls)
        if number > ask.limits.max_rounds or calls > ask.limits.max_calls:
            what = f"{ask.limits.max_rounds} rounds" if number > ask.limits.max_rounds else f"{calls} calls"
            raise LimitError(
                f"{ask.model} wants more tools after {what}",
                cure=f"Allow more: max_rounds={2 * ask.limits.max_rounds}, max_calls={2 * max(calls, 1)}.",
                reply=replace(reply, messages=ask.messages),
            )
        outcomes = yield from run_tools(ask, reply)
        values += [one.value for one in outcomes if one.error is None]
        if stream:
            yield Emit(Delta(results=tuple(one.text for one in outcomes)))
        ask = replace(ask, messages=_with_results(ask, reply, outcomes))
    raise AssertionError  # the loop has returned or raised


def run_tools(ask: Ask, reply: Reply[Any]) -> Steps[list[Outcome]]:
    """The results of an answer's calls, which run side by side."""
    bound = ask.tools.bound(reply.tool_calls)
    returned = yield Call(tuple(bound), ask.limits.tool_timeout)
    return [outcome(call, value) for call, value in zip(reply.tool_calls, returned, strict=True)]


def _with_results(ask: Ask, reply: Reply[Any], outcomes: list[Outcome]) -> list[dict[str, Any]]:
    if ask.json_tools or ask.lacks("tools"):
        return [*ask.messages, *json_tools.results(reply, outcomes)]
    return [*ask.messages, reply.message, *(one.message() for one in outcomes)]


def _typed(ask: Ask, stream: bool) -> Steps[Reply[Any]]:
    """One answer, asked for again while it is not of the type."""
    usage, asked = Usage(), ask
    for attempt in count(1):
        reply = yield from answer(asked, stream)
        usage += reply.usage
        reply = replace(reply, usage=usage)
        if ask.shape is None or reply.tool_calls:
            return replace(reply, messages=[*ask.messages, reply.message])
        try:
            value = parsed(ask.model, ask.shape, reply, attempt)
        except AnswerError as error:
            if error.kind == "truncated" or attempt == _TYPED_TRIES or stream:  # what was shown cannot be taken back
                raise
            wrong = {"role": "user", "content": f"That is not valid: {error.message}.\n{ask.shape.instructions}"}
            asked = replace(ask, messages=[*ask.messages, reply.message, wrong])
        else:
            return replace(reply, value=value, messages=[*ask.messages, reply.message])
    raise AssertionError  # the loop has returned or raised


def parsed(model: str, shape: Shape[T], reply: Reply[Any], attempt: int = 1) -> T:
    """The typed value of an answer. Raises: AnswerError that it is cut or not valid."""
    try:
        return shape.parse(reply.text)
    except ValueError as error:
        if reply.finish_reason == "length":
            raise AnswerError(
                f"{model}: the answer was cut at its limit of tokens before it was whole",
                cure="Allow a longer one: max_tokens=...",
                kind="truncated",
                reply=reply,
            ) from None
        which = "the answer is not" if attempt == 1 else f"no answer of {attempt} is"
        raise AnswerError(
            f"{model}: {which} a valid {shape.name}: {error}",
            cure="Describe in the prompt what is wanted, or ask another model.",
            kind="invalid",
            reply=reply,
        ) from None


def answer(ask: Ask, stream: bool) -> Steps[Reply[Any]]:
    """One answer, without what the model turns out not to take."""
    while True:
        body, by_json = _body(ask, stream)  # JSON that names tools is not shown: it is read whole
        try:
            found = yield from (_streamed if stream and not by_json else _whole)(ask, body)
        except ProviderError as error:
            feature = _refused(error, body)
            if not feature:
                raise
            ask.learn(feature)
            continue
        reply = ended(found, ask.model)
        if not by_json:
            return reply
        reply = json_tools.read(reply)
        if stream:
            yield Emit(Delta(reply.text, reply.thoughts, reply.tool_calls))
        return reply


def _body(ask: Ask, stream: bool) -> tuple[dict[str, Any], bool]:
    """The request's body, and whether tools are called by JSON in the answer."""
    messages, shape = ask.messages, ask.shape
    body: dict[str, Any] = {"model": ask.model, "messages": messages, **ask.params}
    by_json = bool(ask.tools) and (ask.json_tools or ask.lacks("tools"))
    if by_json:
        shape = json_tools.shape(ask.tools, ask.shape)
        body["messages"] = json_tools.instructed(messages, ask.tools, ask.shape)
    elif ask.tools:
        body["tools"] = ask.tools.described
    if shape is not None and "response_format" not in ask.params:
        if not ask.lacks("response_format"):
            body["response_format"] = shape.response_format
        elif not by_json:
            body["messages"] = [*messages[:-1], told(messages[-1], shape.instructions)]
    if stream and not by_json:
        body["stream"] = True
        if not ask.lacks("stream_options"):
            body["stream_options"] = {"include_usage": True}
    return body, by_json


def told(message: Mapping[str, Any], words: str) -> dict[str, Any]:
    """A message with more words at its end."""
    content = message["content"]
    if isinstance(content, list):
        return {**message, "content": [*content, {"type": "text", "text": words}]}
    return {**message, "content": f"{content}\n\n{words}"}


def _refused(error: ProviderError, body: Mapping[str, Any]) -> str:
    """The feature that a provider refuses a request for, which the request can do without; empty: no feature."""
    if error.status not in (400, 404, 405, 415, 422, 500, 501):
        return ""
    words = error.message.lower()
    marks = {
        "stream_options": ("stream_options", "include_usage"),
        "response_format": ("response_format", "json_schema", "response format", "structured output", "guided"),
        "tools": ("tool", "function call"),
    }
    if not any(sign in words for sign in _SIGNS):
        return ""
    return next((name for name, said in marks.items() if name in body and any(mark in words for mark in said)), "")


def _whole(ask: Ask, body: dict[str, Any]) -> Steps[Gathered]:
    request = post(ask.endpoint, "chat/completions", body)
    answer = yield from received(request, ask.policy)
    return _chosen(ask, answer)


def _chosen(ask: Ask, answer: dict[str, Any]) -> Gathered:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ProviderError(f"{ask.endpoint.base}: the response has no choices", cure="Ask the provider.", status=200)
    with well_formed(ask.endpoint):
        return gathered(answer)


def _streamed(ask: Ask, body: dict[str, Any]) -> Steps[Gathered]:
    request = post(ask.endpoint, "chat/completions", body)
    response = yield from exchange(request, ask.policy, stream=True)
    if any(kind in response.headers.get("content-type", "") for kind in ("json", "html")):  # no stream, or an error
        return (yield from _not_a_stream(ask, response.headers))
    answer, events, done = Gathered(), Events(), False
    while not done:
        piece = yield Read()
        if piece is not None and not isinstance(piece, bytes):
            reason = f"nothing came for {ask.policy.idle:g} s" if piece.timed_out else piece.reason
            raise _incomplete(ask, answer, reason)
        for data in events.close() if piece is None else events.feed(piece):
            if data == b"[DONE]":
                done = True
                break
            delta = _taken(ask, answer, data)
            if delta is not None:
                yield Emit(delta)
        if piece is None:
            break
    if not done and answer.finish_reason is None:
        if not answer.seen:
            raise ProviderError(
                f"{ask.endpoint.base}: the stream has no event",
                cure="Check that base_url is the address of an API.",
                status=200,
            )
        raise _incomplete(ask, answer, "the stream ended before the answer did")
    last = answer.close()
    if last is not None:
        yield Emit(_shaped(ask, answer, last))
    return answer


def _taken(ask: Ask, answer: Gathered, data: bytes) -> Delta | None:
    event = loads(data)
    if not isinstance(event, dict):
        raise _incomplete(ask, answer, f"an event is not JSON: {data[:100].decode(errors='replace')}")
    if error := event.get("error"):
        words = error.get("message", error) if isinstance(error, dict) else error
        raise _incomplete(ask, answer, ask.endpoint.mask(str(words)))
    with well_formed(ask.endpoint):
        delta = answer.take(event)
    return None if delta is None else _shaped(ask, answer, delta)


def _shaped(ask: Ask, answer: Gathered, delta: Delta) -> Delta:
    if ask.shape is None or not delta.text:
        return delta
    return replace(delta, partial=ask.shape.partial(answer.text))


def _not_a_stream(ask: Ask, headers: Mapping[str, str]) -> Steps[Gathered]:
    from .effects import Response

    pieces = []
    while (piece := (yield Read())) is not None:
        if not isinstance(piece, bytes):
            raise_for(piece, ask.endpoint, ask.policy)
        pieces.append(piece)
    response = Response(200, headers, b"".join(pieces))
    value = loads(response.body)
    if not isinstance(value, dict):
        raise not_json(response, ask.endpoint)
    if value.get("error"):
        raise_for(response, ask.endpoint, ask.policy)
    answer = _chosen(ask, value)
    yield Emit(_shaped(ask, answer, Delta(answer.text, answer.thoughts, answer.tool_calls)))
    return answer


def _incomplete(ask: Ask, answer: Gathered, reason: str) -> AnswerError:
    answer.close()
    return AnswerError(
        f"{ask.model}: the answer is incomplete: {reason}",
        cure="Ask again; `error.reply.text` is what there is of it.",
        kind="incomplete",
        reply=answer.reply(),
    )


def _cost(ask: Ask, usage: Usage, reply: Reply[Any]) -> float | None:
    """The provider's own figure of this answer, else by the price per million tokens."""
    told = (reply.raw.get("usage") or {}).get("cost")
    if isinstance(told, int | float):
        return float(told)
    if ask.price is None:
        return None
    return (usage.prompt_tokens * ask.price[0] + usage.completion_tokens * ask.price[1]) / 1e6
