"""Models from Python: no Spark, Ray or torch, and nothing is loaded before it is used."""

from __future__ import annotations

from .llm import LLM
from .media import Image, Sound
from .messages import Message, Messages
from .replies import Delta, Reply, ToolCall, Usage
from .template import Template
from .tools import Tool

__all__ = ["LLM", "Delta", "Image", "Message", "Messages", "Reply", "Sound", "Template", "Tool", "ToolCall", "Usage"]
