"""A conversation that goes on: `chat = Chat(llm); chat("Hello")` shows the answer as it comes and remembers it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from .llm import LLM
from .media import Image, Sound
from .messages import Messages, Style, conversation
from .replies import Delta, Reply
from .runnable import Runnable


class Chat(Runnable):
    """A model with a memory. Not for several threads at once; copies and pickles are conversations of their own.

    Args:
        llm: The model.
        memory: How each conversation begins: the system's text, a `Template`, or messages.
        tools: Functions that the model may call.
        style: How parts of messages are sent: `openai_vl`, `qwen_vl`, or `text` alone.
        show: Whether answers are written to standard output as they come.
        params: Sent with every question, such as `temperature`.
    """

    def __init__(
        self,
        llm: LLM,
        memory: Any = (),
        *,
        tools: Iterable[Any] = (),
        style: Style | None = None,
        show: bool = True,
        **params: Any,
    ) -> None:
        self.llm = llm
        self.tools = list(tools)
        self.show = show
        self.style = style
        self.params = params
        self._beginning = Messages(memory)
        self.memory: list[dict[str, Any]] = []
        self.reply: Reply[Any] | None = None  # the last answer, with its usage
        self._started = False

    def call(
        self,
        question: Any,
        *,
        new_chat: bool = False,
        verbose: bool = False,
        images: Sequence[Any] = (),
        sounds: Sequence[Any] = (),
        input_vars: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> str:
        """Ask, show the answer, remember both; a call that fails leaves the memory as it was.

        Args:
            question: A text, or messages; messages with a system's among them begin a new conversation.
            new_chat: Forget what was said before.
            verbose: Show seconds and tokens, too.
            input_vars: Variables of the templates.
            params: As in `LLM.chat`.
        """
        messages = self._asked(question, new_chat, [*map(Image.of, images), *map(Sound.of, sounds)], input_vars)
        start = time.monotonic()
        options = {"tools": self.tools, **self.params, **params}
        with self.llm.stream(Messages(messages, self.style), **options) as stream:
            for delta in stream:
                self._write(delta)
            reply: Reply[str] = stream.reply
        if self.show:
            _out().write("\n")
            if verbose:
                _out().write(f"\n{_spent(reply, time.monotonic() - start)}\n")
            _out().flush()
        self._remember(question, reply)
        return reply.text

    async def acall(
        self,
        question: Any,
        *,
        new_chat: bool = False,
        images: Sequence[Any] = (),
        sounds: Sequence[Any] = (),
        input_vars: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> str:
        """`call` in an event loop; it shows nothing."""
        messages = self._asked(question, new_chat, [*map(Image.of, images), *map(Sound.of, sounds)], input_vars)
        reply: Reply[str] = await self.llm.achat(
            Messages(messages, self.style), **{"tools": self.tools, **self.params, **params}
        )
        self._remember(question, reply)
        return reply.text

    def clear(self) -> None:
        """Forget the conversation."""
        self.memory, self._started = [], False

    def __repr__(self) -> str:
        return f"Chat({self.llm!r}, {len(self.memory)} messages)"

    def _asked(
        self, question: Any, new_chat: bool, media: list[Any], input_vars: Mapping[str, Any] | None
    ) -> list[dict[str, Any]]:
        asked = Messages(question if isinstance(question, list) else [_users(question)])
        added = asked.to_list(input_vars, self.style)
        if media:
            added = conversation(added, media)
        if asked.has_role("system"):
            return added
        if new_chat or not self._started:
            return self._beginning.to_list(input_vars, self.style) + added
        return self.memory + added

    def _remember(self, question: Any, reply: Reply[Any]) -> None:
        self.reply, self.memory, self._started = reply, reply.messages, True
        self._last_input, self._last_output = question, reply.text

    def _write(self, delta: Delta) -> None:
        if self.show:
            _out().write(delta.text + "".join(f"{result}\n\n" for result in delta.results))
            _out().flush()


def _users(question: Any) -> Any:
    """A message alone is the user's, unless it has a role."""
    named = isinstance(question, tuple) or (isinstance(question, Mapping) and "role" in question)
    return question if named or hasattr(question, "role") else ("user", question)


def _out() -> TextIO:
    return sys.stdout


def _spent(reply: Reply[Any], seconds: float) -> str:
    usage = {
        "input_tokens": reply.usage.prompt_tokens,
        "output_tokens": reply.usage.completion_tokens,
        "total_tokens": reply.usage.total_tokens,
    }
    return f"  {round(seconds)}s [USAGE] {json.dumps(usage)}"
