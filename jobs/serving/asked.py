"""What a request asks for. Clients write out defaults; a field that asks for nothing is left out on every engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .protocol import RequestError

_NEUTRAL: dict[str, Any] = {
    "n": 1,
    "best_of": 1,
    "logprobs": False,
    "echo": False,
    "suffix": "",
    "stop": [],
    "logit_bias": {},
    "tools": [],
    "functions": [],
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "use_beam_search": False,
}
# Of a list, how the model is to use it; without the list they ask for nothing.
_USES = {"tools": ("tool_choice", "parallel_tool_calls"), "functions": ("function_call",)}
_NO_USE = ("auto", "none", True, False)


def asked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without those that ask for nothing: null, one answer, no tools, plain text.

    Raises: RequestError if a tool is to be used and no tools are given.
    """
    found = {name: value for name, value in fields.items() if value is not None and not _is_neutral(name, value)}
    for things, uses in _USES.items():
        if things in found:
            continue
        for use in uses:
            if (value := found.pop(use, "none")) not in _NO_USE:
                raise RequestError(f"{use} is {value!r:.100} and {things} is empty; send {things} too", param=use)
    if "logprobs" not in found and found.get("top_logprobs") == 0:
        del found["top_logprobs"]
    return found


def _is_neutral(name: str, value: Any) -> bool:
    if name == "stop":
        return not value or value == [""]
    return name in _NEUTRAL and type(value) is type(_NEUTRAL[name]) and value == _NEUTRAL[name]
