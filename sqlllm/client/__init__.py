"""Models from Python: no Spark, Ray or torch, and nothing is loaded before it is used."""

from __future__ import annotations

from .chat import Chat
from .llm import LLM
from .media import Image, Sound
from .messages import Message, Messages
from .meta import MetaHolder
from .prompts import Prompt, prompt
from .replies import Delta, Reply, ToolCall, Usage
from .runnable import Runnable
from .template import Template
from .tools import Tool

__all__ = [
    "LLM",
    "Chat",
    "Delta",
    "Image",
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
