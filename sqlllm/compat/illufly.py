"""Illufly's names on this package's client: chats with a memory, messages, templates.

`from sqlllm.compat.illufly import ChatQwen` is the line that changes; `illufly.chat` and `illufly.types` are then
importable by their own names, unless illufly itself is loaded already.
"""

from __future__ import annotations

import os
from typing import Any

from sqlllm.client import LLM, Chat, Message, Messages, Runnable
from sqlllm.client import Template as _Template
from sqlllm.errors import OptionError

from . import alias

__all__ = [
    "ChatDeepSeek",
    "ChatOpenAI",
    "ChatQwen",
    "ChatQwenVL",
    "ChatZhipu",
    "Message",
    "Messages",
    "Runnable",
    "Template",
]


class Template(_Template):
    """A template as illufly shows it."""

    def __repr__(self) -> str:
        return f"<Template consumer_dict={self.consumer_dict or set()} text={self.text!r}>"


class _Provided(Chat):
    """A chat at a provider; its key is in `api_key` or in a variable, its address in `base_url` or in one, too."""

    address = ""
    key_variable = ""
    address_variable = ""
    default_model = ""
    default_style: Any = None

    def __init__(
        self,
        model: str = "",
        memory: Any = (),
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        tools: Any = (),
        style: Any = None,
        **params: Any,
    ) -> None:
        name = model or self.default_model
        if not name:
            raise OptionError(f"{type(self).__name__} needs a model", cure='Write model="...".')
        where = base_url or os.environ.get(self.address_variable) or self.address
        llm = LLM(name, where, api_key or f"env:{self.key_variable}")
        super().__init__(llm, memory, tools=tools, style=style or self.default_style, **params)


class ChatQwen(_Provided):
    """Qwen at DashScope: DASHSCOPE_API_KEY."""

    address = "https://dashscope.aliyuncs.com/compatible-mode/v1"
    address_variable = "DASHSCOPE_BASE_URL"
    key_variable = "DASHSCOPE_API_KEY"
    default_model = "qwen-plus"


class ChatQwenVL(ChatQwen):
    """Qwen that sees."""

    default_model = "qwen-vl-plus"
    default_style = "openai_vl"


class ChatOpenAI(_Provided):
    """Models of OpenAI, or of an address that speaks its protocol: OPENAI_API_KEY, OPENAI_BASE_URL."""

    address = "https://api.openai.com/v1"
    address_variable = "OPENAI_BASE_URL"
    key_variable = "OPENAI_API_KEY"
    default_model = "gpt-4o-mini"


class ChatZhipu(_Provided):
    """GLM at Zhipu: ZHIPUAI_API_KEY."""

    address = "https://open.bigmodel.cn/api/paas/v4"
    address_variable = "ZHIPUAI_BASE_URL"
    key_variable = "ZHIPUAI_API_KEY"
    default_model = "glm-4-flash"


class ChatDeepSeek(_Provided):
    """DeepSeek: DEEPSEEK_API_KEY."""

    address = "https://api.deepseek.com/v1"
    address_variable = "DEEPSEEK_BASE_URL"
    key_variable = "DEEPSEEK_API_KEY"
    default_model = "deepseek-chat"


def install() -> None:
    """Let `illufly.chat` and `illufly.types` be imported by their own names."""
    mine = {name: globals()[name] for name in __all__}
    alias.module("illufly", **mine)
    alias.module("illufly.chat", **{name: value for name, value in mine.items() if name.startswith("Chat")})
    alias.module("illufly.types", Message=Message, Messages=Messages, Runnable=Runnable, Template=Template)


install()
