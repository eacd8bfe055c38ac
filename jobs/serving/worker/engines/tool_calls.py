"""Tools: what a model may call, the form that holds it to a call, and the calls in what it wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from ...protocol import RequestError, new_id
from .held import Held

_TAGGED = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)
_MARKS = ("[TOOL_CALLS]", "<|python_tag|>", "<|tool_call|>")  # before calls that are plain JSON


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of a request; `forced` are those of which one must be called."""

    given: list[dict[str, Any]]
    forced: list[dict[str, Any]]

    @property
    def held(self) -> Held | None:
        """The form of a forced call: `{"name": ..., "arguments": {...}}`."""
        if not self.forced:
            return None
        calls = [
            {
                "type": "object",
                "properties": {
                    "name": {"const": tool["function"]["name"]},
                    "arguments": tool["function"].get("parameters") or {"type": "object", "properties": {}},
                },
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for tool in self.forced
        ]
        return Held("json", calls[0] if len(calls) == 1 else {"anyOf": calls})

    def read(self, text: str, finish_reason: str) -> tuple[dict[str, Any], str]:
        """The message that a text is, and why it ended: with the calls in it, else the text as it is."""
        content, calls = self._calls(text)
        if not calls:
            return {"role": "assistant", "content": text}, finish_reason
        return {"role": "assistant", "content": content or None, "tool_calls": calls}, "tool_calls"

    def _calls(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        if tagged := list(_TAGGED.finditer(text)):
            calls = [self._call(_json(match[1])) for match in tagged]
            content = text[: tagged[0].start()].strip()
        else:
            plain = text.strip()
            for mark in _MARKS:
                plain = plain.removeprefix(mark).strip()
            written = _json(plain)
            calls = [self._call(one) for one in (written if isinstance(written, list) else [written])]
            content = ""
        whole = [call for call in calls if call is not None]
        return (content, whole) if len(whole) == len(calls) else ("", [])

    def _call(self, written: Any) -> dict[str, Any] | None:
        """A call as OpenAI has it; None if it calls none of the tools."""
        if not isinstance(written, dict):
            return None
        name, arguments = written.get("name"), written.get("arguments", written.get("parameters", {}))
        if name not in {tool["function"]["name"] for tool in self.given}:
            return None
        written_out = isinstance(arguments, str) and isinstance(_json(arguments), dict)  # as some models do
        said = arguments if written_out else orjson.dumps(arguments).decode()
        return {"id": new_id("call"), "type": "function", "function": {"name": name, "arguments": said}}


def tools(given: list[dict[str, Any]] | None, choice: Any) -> Tools | None:
    """The tools that a request gives, unless it says that none is to be called.

    Raises: RequestError for what is not a tool, and for a choice that is not one of them.
    """
    if not given or choice == "none":
        return None
    for index, tool in enumerate(given):
        function = tool.get("function")
        if tool.get("type", "function") != "function" or not isinstance(function, dict):
            raise RequestError(f'tools[{index}] must be {{"type": "function", "function": ...}}', param="tools")
        if not isinstance(function.get("name"), str) or not function["name"]:
            raise RequestError(f"tools[{index}].function.name is missing", param="tools")
        if not isinstance(function.get("parameters") or {}, dict):
            raise RequestError(f"tools[{index}].function.parameters must be a JSON schema", param="tools")
    if choice in (None, "auto"):
        return Tools(given, [])
    if choice == "required":
        return Tools(given, given)
    named = (choice.get("function") or {}).get("name") if isinstance(choice, dict) else None
    forced = [tool for tool in given if tool["function"]["name"] == named]
    if not forced:
        said = f"tool_choice is {choice!r:.100}, which names none of the tools; write auto, required, none"
        raise RequestError(f'{said}, or {{"type": "function", "function": {{"name": ...}}}}', param="tool_choice")
    return Tools(given, forced)


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
