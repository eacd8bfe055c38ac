"""Tools for a model that has no tool calls: it answers with JSON that names the tools, or with the answer itself."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from .replies import Reply, ToolCall
from .tools import Outcome, Tools
from .typed import Shape, candidates

_TEXT = {"type": "string"}


class _Choice(Shape[dict[str, Any]]):
    """The schema of calls or an answer."""

    def __init__(self, tools: Tools, answer: Shape[Any] | None) -> None:
        super().__init__(dict[str, Any])
        definitions = dict(answer.schema.get("$defs", {})) if answer is not None else {}
        calls = []
        for function in (tool["function"] for tool in tools.described):
            parameters = dict(function.get("parameters") or {"type": "object"})
            definitions |= parameters.pop("$defs", {})
            calls.append(
                {
                    "type": "object",
                    "properties": {
                        "name": {"enum": [function["name"]]},
                        "arguments": parameters,
                    },
                    "required": ["name", "arguments"],
                    "additionalProperties": False,
                }
            )
        self.schema = {
            "type": "object",
            "properties": {"calls": {"type": "array", "items": {"anyOf": calls}}, "answer": _result(answer)},
            "required": ["calls", "answer"],
            "additionalProperties": False,
            **({"$defs": definitions} if definitions else {}),
        }

    @property
    def name(self) -> str:
        return "calls_or_answer"


def _result(answer: Shape[Any] | None) -> dict[str, Any]:
    if answer is None:
        return _TEXT
    schema = {name: value for name, value in answer.schema.items() if name != "$defs"}
    return {"anyOf": [schema, {"type": "null"}]}


def shape(tools: Tools, answer: Shape[Any] | None) -> Shape[Any]:
    """What the answer is held to."""
    return _Choice(tools, answer)


def instructed(messages: list[dict[str, Any]], tools: Tools, answer: Shape[Any] | None) -> list[dict[str, Any]]:
    """The conversation with the tools described at its beginning."""
    described = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools.described)
    result = "a text" if answer is None else f"JSON of the schema {json.dumps(answer.schema, ensure_ascii=False)}"
    none = '""' if answer is None else "null"
    words = (
        f"You can call these functions:\n{described}\n\n"
        'Answer with JSON alone. To call functions: {"calls": [{"name": "...", "arguments": {...}}], '
        f'"answer": {none}}}. To answer: {{"calls": [], "answer": ...}}, where the answer is {result}.'
    )
    if messages and messages[0]["role"] == "system" and isinstance(messages[0]["content"], str):
        return [{"role": "system", "content": f"{messages[0]['content']}\n\n{words}"}, *messages[1:]]
    return [{"role": "system", "content": words}, *messages]


def read(reply: Reply[Any]) -> Reply[Any]:
    """The reply with the calls that its JSON asks for, or with its answer as the text; a text without JSON stays."""
    for candidate in candidates(reply.text):
        try:
            data = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(data, dict) and isinstance(data.get("calls", []), list) and data.keys() & {"calls", "answer"}:
            calls = tuple(
                ToolCall(f"call_{index}", str(call.get("name")), _arguments(call))
                for index, call in enumerate(data.get("calls") or [])
                if isinstance(call, dict)
            )
            if calls:
                return replace(reply, text="", value="", tool_calls=calls)
            answer = data.get("answer")
            text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
            return replace(reply, text=text, value=text)
        break
    return reply


def _arguments(call: dict[str, Any]) -> str:
    return json.dumps(call.get("arguments") or {}, ensure_ascii=False)


def results(reply: Reply[Any], outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """The calls and their results, as messages that any model takes."""
    calls = [{"name": call.name, "arguments": json.loads(call.arguments)} for call in reply.tool_calls]
    asked = json.dumps({"calls": calls}, ensure_ascii=False)
    told = "\n".join(f"{one.call.name} returned: {one.text}" for one in outcomes)
    return [{"role": "assistant", "content": asked}, {"role": "user", "content": told}]
