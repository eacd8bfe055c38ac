"""How many tokens a text or a conversation has."""

from __future__ import annotations

from typing import Any, Protocol, Self

import orjson

from sqlllm.errors import ModelError, PackageError

_BYTES_PER_TOKEN = 4


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
        texts = (message["content"] for message in messages if message.get("content"))
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
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def count_chat(self, messages: list[dict[str, Any]]) -> int:
        if self._tokenizer.chat_template is None:
            return sum(self.count(str(message.get("content") or "")) for message in messages)
        return len(self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))

    def cut(self, text: str, tokens: int) -> str:
        return str(self._tokenizer.decode(self._tokenizer(text, add_special_tokens=False)["input_ids"][:tokens]))
