"""An answer as it arrives, in one response or in the chunks of a stream."""

from __future__ import annotations

from typing import Any

from sqlllm.errors import AnswerError

from . import thoughts
from .replies import Delta, Reply, ToolCall, Usage


class Gathered:
    """What there is of an answer so far."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: dict[int, list[str]] = {}  # id, name, arguments by index
        self._split = thoughts.Thoughts()
        self.refusal = ""
        self.finish_reason: str | None = None
        self.usage = Usage(calls=1)
        self.seen = False  # a chunk
        self.head: dict[str, Any] = {}  # the last chunk or the response

    @property
    def text(self) -> str:
        if len(self._texts) > 1:
            self._texts = ["".join(self._texts)]
        return self._texts[0] if self._texts else ""

    @property
    def thoughts(self) -> str:
        return "".join(self._thoughts).strip()

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(known or f"call_{index}", name, arguments)
            for index, (known, name, arguments) in self._calls.items()
        )

    def take(self, chunk: dict[str, Any]) -> Delta | None:
        """Add a chunk of a stream; what it adds to the answer, if anything."""
        self.seen = True
        if chunk.get("usage"):
            self.usage = Usage.of(chunk["usage"])
            self.head = chunk
        elif not self.head:
            self.head = chunk
        choices = chunk.get("choices")
        if not choices:
            return None
        choice = choices[0]
        if choice.get("finish_reason"):
            self.finish_reason = choice["finish_reason"]
        return self.add(choice.get("delta") or choice.get("message") or {})

    def add(self, message: dict[str, Any]) -> Delta | None:
        """Add a delta or a whole message."""
        text, thought = self._split.feed(_text(message.get("content")))
        thought += message.get("reasoning_content") or message.get("reasoning") or ""
        self.refusal += message.get("refusal") or ""
        for call in message.get("tool_calls") or ():
            self._add_call(call)
        return self._grown(text, thought)

    def close(self) -> Delta | None:
        """The end of the answer: what was held back as it might have begun a tag, and the tool calls, now whole."""
        delta = self._grown(*self._split.close())
        if not self._calls:
            return delta
        return Delta(delta.text if delta else "", delta.thoughts if delta else "", self.tool_calls)

    def reply(self) -> Reply[str]:
        """The answer as it is now."""
        return Reply(
            self.text,
            self.text,
            self.thoughts,
            self.finish_reason,
            self.usage,
            self.tool_calls,
            model=str(self.head.get("model") or ""),
            id=str(self.head.get("id") or ""),
            raw=self.head,
        )

    def _grown(self, text: str, thought: str) -> Delta | None:
        if text:
            self._texts.append(text)
        if thought:
            self._thoughts.append(thought)
        return Delta(text, thought) if text or thought else None

    def _add_call(self, call: dict[str, Any]) -> None:
        function = call.get("function") or {}
        index = call.get("index")
        if index is None:  # some providers leave it out: a new id is a new call
            last = next(reversed(self._calls), -1)
            index = last if last >= 0 and call.get("id") in (None, "", self._calls[last][0]) else last + 1
        kept = self._calls.setdefault(index, ["", "", ""])
        kept[0] = call.get("id") or kept[0]
        name, arguments = function.get("name") or "", function.get("arguments") or ""
        kept[1] = name if name.startswith(kept[1]) else kept[1] + name
        if not isinstance(arguments, str):  # an object, where text was due
            from .requests import dumps

            arguments = dumps(arguments).decode()
        kept[2] += arguments


def gathered(response: dict[str, Any]) -> Gathered:
    """The answer in a whole response."""
    answer = Gathered()
    answer.head = response
    answer.usage = Usage.of(response.get("usage"))
    choice = response["choices"][0]
    answer.finish_reason = choice.get("finish_reason")
    answer.add(choice.get("message") or {"content": choice.get("text")})
    answer.close()
    return answer


def ended(answer: Gathered, model: str) -> Reply[str]:
    """The reply of an answer that is whole.

    Raises: AnswerError if the model refused, or the provider filtered the answer.
    """
    reply = answer.reply()
    if answer.refusal:
        raise AnswerError(f"{model} refused: {answer.refusal}", cure="Ask otherwise.", kind="refused", reply=reply)
    if reply.finish_reason == "content_filter":
        raise AnswerError(
            f"{model}: the provider's filter stopped the answer", cure="Ask otherwise.", kind="filtered", reply=reply
        )
    return reply


def _text(content: Any) -> str:
    """The text of a content, which may be a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return ""
