"""Byzer-LLM's names on this package's client: `import sqlllm.compat.byzerllm as byzerllm` is the line that changes.

`from byzerllm.types import ImagePath` and the like then find what is here, unless Byzer-LLM itself is loaded already.
"""

from __future__ import annotations

import enum
from typing import Any

import pydantic

from sqlllm.client import MetaHolder

from . import alias, storage
from .answers import (
    LLMClassResponse,
    LLMFunctionCallResponse,
    LLMRequest,
    LLMResponse,
    SingleOutputMeta,
)
from .client import ByzerLLM, SimpleByzerLLM, connect_cluster, get_single_llm
from .prompting import AudioPath, ImagePath, prompt
from .prompting import ImageText as Image
from .tags import TagExtractor, asyncfy, asyncfy_with_semaphore, extract_code

__all__ = [
    "AudioPath",
    "ByzerLLM",
    "Image",
    "ImagePath",
    "InferBackend",
    "LLMClassResponse",
    "LLMFunctionCallResponse",
    "LLMHistoryItem",
    "LLMRequest",
    "LLMResponse",
    "MetaHolder",
    "SimpleByzerLLM",
    "SingleOutputMeta",
    "TagExtractor",
    "Templates",
    "asyncfy",
    "asyncfy_with_semaphore",
    "code_utils",
    "connect_cluster",
    "get_single_llm",
    "message_utils",
    "prompt",
    "types",
]


class InferBackend(enum.StrEnum):
    """What runs a model."""

    transformers = "transformers"
    Transformers = "transformers"
    VLLM = "vllm"
    LLAMA_CPP = "llama_cpp"
    DeepSpeed = "deepspeed"


class LLMHistoryItem(pydantic.BaseModel):
    """A message of a history."""

    role: str
    content: str


class _ByName(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda: "auto"


class Templates(metaclass=_ByName):
    """Chat templates by name: each means the model's own, which comes with the model."""


class Bool(pydantic.BaseModel):
    """A typed answer of yes or no."""

    value: bool


def _read_file(path: str) -> str:
    """The text of a file in UTF-8, else in GBK."""
    from pathlib import Path

    data = Path(path).read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("gbk", errors="replace")


def _dumps(function: Any) -> str:
    """A function as a model sees it, in JSON."""
    import json

    from sqlllm.client import Tool

    return json.dumps(Tool(function).to_dict()["function"], ensure_ascii=False)


types = alias.module("byzerllm.types", ImagePath=ImagePath, AudioPath=AudioPath, Bool=Bool)
code_utils = alias.module("byzerllm.utils.client.code_utils", extract_code=extract_code)
message_utils = alias.module("byzerllm.utils.client.message_utils")


def install() -> None:
    """Let `byzerllm` and its parts, and the two helpers of auto-coder, be imported by their own names."""
    mine = {name: globals()[name] for name in __all__}
    alias.module("byzerllm", **mine)
    alias.module("byzerllm.utils", serialize_function_to_json=_dumps)
    alias.module("byzerllm.utils.client", **mine)
    alias.module("byzerllm.utils.client.types", Templates=Templates)
    alias.module("byzerllm.utils.langutil", asyncfy=asyncfy, asyncfy_with_semaphore=asyncfy_with_semaphore)
    alias.module("byzerllm.apps.utils", TagExtractor=TagExtractor)
    alias.module("byzerllm.apps.byzer_storage.simple_api", **storage.NAMES)
    alias.module("autocoder.utils.llms", get_single_llm=get_single_llm)
    alias.module("autocoder.common.files", read_file=_read_file)


install()
