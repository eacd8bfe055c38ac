"""What is known of an answer beside its text, for whoever asked through a prompt function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .replies import Reply


class MetaHolder:
    """Takes the tokens, thoughts and finish reason of the last answer: `story.with_meta(holder).run()`."""

    def __init__(self) -> None:
        self.reply: Reply[Any] | None = None
        self.first_token_time = 0.0

    def take(self, reply: Reply[Any], first_token_time: float = 0.0) -> None:
        """An answer has come; `first_token_time` is the seconds until its first piece."""
        self.reply = reply
        self.first_token_time = first_token_time

    def get_meta(self) -> dict[str, Any]:
        """As a dict; empty before there is an answer."""
        if self.reply is None:
            return {}
        return {
            "input_tokens_count": self.reply.usage.prompt_tokens,
            "generated_tokens_count": self.reply.usage.completion_tokens,
            "reasoning_content": self.reply.thoughts,
            "finish_reason": self.reply.finish_reason or "",
            "first_token_time": self.first_token_time,
        }

    def get_meta_model(self) -> Any:
        """As a pydantic object with the same fields."""
        from pydantic import BaseModel, create_model

        fields: dict[str, Any] = {name: (type(value), value) for name, value in self.get_meta().items()}
        return create_model("MetaOutput", __base__=BaseModel, **fields)()
