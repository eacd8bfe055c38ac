"""Engines: what turns a model folder into answers.

An engine is an entry point of the group `sqlllm.engines`, the built-in ones too. It names an `Engine`, whose module
must be light to import: it is also read in the session's process, where options are checked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

from sqlllm.errors import ModelError, OptionError, suggest

from ..spec import ModelSpec


class Model(Protocol):
    """A loaded model. Requests are OpenAI's as plain values, answers are JSON; a refusal is a RequestError."""

    async def chat(self, request: dict[str, Any]) -> bytes:
        """Answer one conversation."""

    async def chat_batch(self, request: dict[str, Any]) -> bytes:
        """Answer many: one choice per conversation, a bad one as a choice with `error`."""

    async def completions(self, request: dict[str, Any]) -> bytes:
        """Continue one prompt or several."""

    def stream(self, route: str, request: dict[str, Any]) -> AsyncIterator[bytes]:
        """`chat` or `completions` as server-sent events; refuses before the first one."""

    async def count_tokens(self, batch: list[list[dict[str, Any]]]) -> list[int]:
        """Tokens of each conversation, as the model sees it; nothing is generated."""

    async def check_health(self) -> None:
        """Raise if the model can no longer answer."""


@runtime_checkable
class Counts(Protocol):
    """A model that counts what it is asked."""

    def counts(self) -> dict[str, int]:
        """Totals since it was loaded, by name."""


class Engine(Protocol):
    """How to check options and to load a model."""

    name: ClassVar[str]
    generates: ClassVar[bool]  # whether it continues any text: then a first token shows that it works

    @staticmethod
    def parse(options: Mapping[str, str]) -> dict[str, Any]:
        """The options with typed values; an unknown or wrong one is an OptionError."""

    @staticmethod
    def check(spec: ModelSpec, options: Mapping[str, Any]) -> None:
        """Refuse, with a ModelError, a model whose files are not there."""

    @staticmethod
    def resources(spec: ModelSpec, options: Mapping[str, Any], gpus: float) -> dict[str, Any]:
        """What Ray sets aside for one worker: `ray_actor_options` and `placement_group_bundles` of Serve."""

    @staticmethod
    async def load(spec: ModelSpec, options: dict[str, Any], gpus: float) -> Model:
        """Load the model, in the worker; a failure is a ModelError with the engine's own reason."""


def check_folder(spec: ModelSpec) -> None:
    """Refuse what is no model folder in Hugging Face's layout."""
    folder = Path(spec.model_path)
    if (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file():
        return
    wrong = "has no config.json" if folder.is_dir() else "does not exist"
    raise ModelError(
        f"the model folder {folder} {wrong}",
        cure="localModelDir is a folder in Hugging Face's layout: config.json, weights and tokenizer.",
    )


def get_engine(name: str) -> type[Engine]:
    """The engine called `name`; OptionError if there is none."""
    found = _entry_points()
    if name not in found:
        known = list(found)
        raise OptionError(f"unknown engine {name}", key="engine", cure=suggest(name, known, what="engines"))
    return cast("type[Engine]", found[name].load())


@cache
def _entry_points() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group="sqlllm.engines")}


def parse_value(text: str, annotation: str) -> Any:
    """The value that `text` stands for, for a field with this type annotation (`int | None`, `bool`, `dict[...]`)."""
    import json

    if "str" in annotation and not any(kind in annotation for kind in ("int", "float", "bool", "list", "dict", "set")):
        return text
    lower = text.strip().lower()
    if lower in ("none", "null"):
        return None
    try:
        return json.loads(lower if lower in ("true", "false") else text)
    except json.JSONDecodeError:
        return text
