"""Models from Python: no Spark, Ray or torch, and nothing is loaded before it is used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .chat import Chat
    from .index import Index
    from .llm import LLM
    from .media import Image, Sound
    from .messages import Message, Messages
    from .meta import MetaHolder
    from .prompts import Prompt, prompt
    from .replies import Delta, Reply, ToolCall, Usage
    from .runnable import Runnable
    from .template import Template
    from .tools import Tool

_WHERE = {
    "LLM": "llm",
    "Chat": "chat",
    "Delta": "replies",
    "Image": "media",
    "Index": "index",
    "Message": "messages",
    "Messages": "messages",
    "MetaHolder": "meta",
    "Prompt": "prompts",
    "Reply": "replies",
    "Runnable": "runnable",
    "Sound": "media",
    "Template": "template",
    "Tool": "tools",
    "ToolCall": "replies",
    "Usage": "replies",
    "prompt": "prompts",
}
__all__ = [
    "LLM",
    "Chat",
    "Delta",
    "Image",
    "Index",
    "Message",
    "Messages",
    "MetaHolder",
    "Prompt",
    "Reply",
    "Runnable",
    "Sound",
    "Template",
    "Tool",
    "ToolCall",
    "Usage",
    "prompt",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
    globals()[name] = found
    return found
