"""How many tokens a text or a conversation has."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, Self

import orjson

from sqlllm.errors import ModelError, PackageError

from ...protocol import UNSUPPORTED, RequestError, check_messages, text_messages

_BYTES_PER_TOKEN = 4


def tokenize(folder: str, request: dict[str, Any]) -> bytes:
    """The tokens of `prompt` or of `messages` with the tokenizer of a folder, in vLLM's shape."""
    try:
        if not Path(folder).is_dir():  # it would take seconds to import what says so, too
            raise ModelError("this model's tokenizer is not here")
        tokenizer = _load(folder)
    except ModelError as error:
        raise RequestError(error.message, param="model", code=UNSUPPORTED) from None
    if isinstance(prompt := request.get("prompt"), str):
        tokens = tokenizer.ids(prompt, special=request.get("add_special_tokens", True))
    else:
        tokens = tokenizer.chat_ids(check_messages(request.get("messages")))
    return orjson.dumps({"count": len(tokens), "tokens": tokens})


@lru_cache(maxsize=1)
def _load(folder: str) -> TokenizerTokens:
    return TokenizerTokens.load(folder)


class Tokens(Protocol):
    """A way to count."""

    def count(self, text: str) -> int:
        """Tokens of a text."""

    def count_chat(self, messages: list[dict[str, Any]]) -> int:
        """Tokens of a conversation, as the model sees it."""

    def cut(self, text: str, tokens: int) -> str:
        """The first tokens of a text."""


class PlainTokens:
    """One token for every four bytes of UTF-8, rounded up; a conversation has those of its messages' texts."""

    def count(self, text: str) -> int:
        size = len(text) if text.isascii() else len(text.encode())
        return -(-size // _BYTES_PER_TOKEN)

    def count_chat(self, messages: list[dict[str, Any]]) -> int:
        plain = text_messages(messages, only=False)
        texts = (message["content"] for message in plain if message.get("content"))
        return sum(self.count(text if isinstance(text, str) else orjson.dumps(text).decode()) for text in texts)

    def cut(self, text: str, tokens: int) -> str:
        """Whole characters only."""
        return text.encode()[: tokens * _BYTES_PER_TOKEN].decode(errors="ignore")


class TokenizerTokens:
    """As a model with this tokenizer counts; a conversation goes through its chat template."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: str) -> Self:
        """The tokenizer of a model's folder; ModelError if there is none."""
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise PackageError.from_import_error(error, package="transformers", extra="ray") from error
        try:
            return cls(AutoTokenizer.from_pretrained(folder, local_files_only=True))
        except (OSError, ValueError) as error:
            raise ModelError(f"no tokenizer in {folder}: {error}") from error

    def count(self, text: str) -> int:
        return len(self.ids(text))

    def count_chat(self, messages: list[dict[str, Any]]) -> int:
        return len(self.chat_ids(messages))

    def ids(self, text: str, special: bool = False) -> list[int]:
        """The tokens of a text; `special`: with those that begin or end any."""
        return list(self._tokenizer(text, add_special_tokens=special)["input_ids"])

    def chat_ids(self, messages: list[dict[str, Any]]) -> list[int]:
        """The tokens of a conversation."""
        messages = text_messages(messages, only=False)
        if self._tokenizer.chat_template is None:
            return [token for message in messages for token in self.ids(str(message.get("content") or ""))]
        from jinja2 import TemplateError

        try:
            found = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise RequestError(f"the chat template refuses the messages: {error}", param="messages") from None
        return list(found)

    def cut(self, text: str, tokens: int) -> str:
        return str(self._tokenizer.decode(self._tokenizer(text, add_special_tokens=False)["input_ids"][:tokens]))
