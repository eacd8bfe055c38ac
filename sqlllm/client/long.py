"""Answers longer than a model gives at once: asked on until the end, and joined without lost or doubled text.

Where a model can continue its own words (`prefix`), it does. Else it is asked to repeat the last characters and go on,
with marks around the answer that show its end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlllm.errors import LimitError, OptionError, ProviderError

from . import asking
from .asking import Ask
from .effects import Steps
from .replies import Reply, Usage
from .typed import Shape

Way = Literal["prefix", "markers"]
_ANCHOR = 32  # characters that a continuation repeats
_PREFIX_FIELDS = {"continue_final_message": True, "add_generation_prompt": False}  # vLLM's
_FEATURE = "prefix"


@dataclass(frozen=True)
class Long:
    """How a long answer is asked for."""

    way: Way = "prefix"
    markers: tuple[str, str] = ("<RESPONSE>", "</RESPONSE>")
    max_rounds: int = 64

    def __post_init__(self) -> None:
        if not all(self.markers) or self.markers[0] == self.markers[1]:
            raise OptionError("two different markers are needed", cure='Give ("<RESPONSE>", "</RESPONSE>").')


def long_answer(ask: Ask, how: Long) -> Steps[Reply[Any]]:
    """The whole answer; its usage is that of all rounds.

    Raises: LimitError with the text so far after `max_rounds`.
    """
    shape, ask = ask.shape, replace(ask, shape=None)
    start, end = how.markers
    asked = ask if how.way == "prefix" else replace(ask, messages=_marked(ask.messages, start, end))
    text, thoughts, usage, way = "", "", Usage(), how.way
    for _ in range(how.max_rounds):
        if way == "prefix" and text and ask.lacks(_FEATURE):
            way = "markers"
        request, join = _request(asked, text, way)
        try:
            reply = yield from asking.answer(request, stream=False)
        except ProviderError as error:
            if way != "prefix" or not text or error.status not in (400, 404, 422):
                raise
            ask.learn(_FEATURE)
            continue
        usage += reply.usage
        thoughts += reply.thoughts
        grown = join(text, reply.text)
        stopped = grown == text
        text = grown
        if reply.finish_reason != "length" or stopped or (how.way == "markers" and end in text):
            return _finished(ask, shape, replace(reply, usage=usage, thoughts=thoughts), _within(text, how))
    reply = replace(reply, text=_within(text, how), usage=usage, messages=ask.messages)
    raise LimitError(
        f"{ask.model}: the answer has no end after {how.max_rounds} rounds",
        cure="Allow more tokens a round, max_tokens=..., or more rounds.",
        reply=reply,
    )


def _request(ask: Ask, text: str, way: Way) -> tuple[Ask, Callable[[str, str], str]]:
    """What is asked to go on after `text`, and how the answer is joined to it."""
    if not text:
        return ask, _as_it_is
    if way == "prefix":
        return prefixed(ask, text), _as_it_is
    words = (
        "Your answer was cut. Go on with it: repeat exactly its last characters, which follow between the quotes, "
        f"and continue right after them, without a word before.\n«{text[-_ANCHOR:]}»"
    )
    said = [{"role": "assistant", "content": text}, {"role": "user", "content": words}]
    return replace(ask, messages=[*ask.messages, *said]), joined


def prefixed(ask: Ask, text: str) -> Ask:
    """An ask whose answer begins with `text`, which the model does not repeat."""
    last = {"role": "assistant", "content": text}
    if "deepseek.com" in ask.endpoint.base:
        return replace(ask, messages=[*ask.messages, {**last, "prefix": True}])
    return replace(ask, messages=[*ask.messages, last], params={**ask.params, **_PREFIX_FIELDS})


def joined(text: str, more: str) -> str:
    """`more` after `text`, without what it repeats of its end."""
    return text + more[overlap(text, more) :]


def overlap(text: str, more: str) -> int:
    """How many characters at the beginning of `more` repeat the end of `text`.

    That is what was asked to be repeated; else the longest match that is more than chance: a few letters or signs that
    differ are needed, or line breaks and indentation that recur would be lost.
    """
    anchor = text[-_ANCHOR:]
    if more.startswith(anchor):
        return len(anchor)
    for size in range(min(len(text), len(more)), 0, -1):
        if text.endswith(more[:size]):
            return size if len({one for one in more[:size] if one.isalnum()}) >= 4 else 0
    return 0


def _as_it_is(text: str, more: str) -> str:
    return text + more


def _marked(messages: list[dict[str, Any]], start: str, end: str) -> list[dict[str, Any]]:
    return [*messages[:-1], asking.told(messages[-1], f"Write your whole answer between {start} and {end}.")]


def _within(text: str, how: Long) -> str:
    """The answer without the marks around it."""
    if how.way == "prefix":
        return text
    _, found, inside = text.partition(how.markers[0])
    return (inside if found else text).partition(how.markers[1])[0].strip("\n")


def _finished(ask: Ask, shape: Shape[Any] | None, reply: Reply[Any], text: str) -> Reply[Any]:
    reply = replace(reply, text=text, value=text)
    reply = replace(reply, messages=[*ask.messages, reply.message])
    return reply if shape is None else replace(reply, value=asking.parsed(ask.model, shape, reply))
