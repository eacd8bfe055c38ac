"""Engines: what turns a model folder into answers.

An engine is an entry point of the group `sqlllm.engines`, the built-in ones too. It names an `Engine`, whose module
must be light to import: it is also read in the session's process, where options are checked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, cast, runtime_checkable

from pydantic import BaseModel, ValidationError

from sqlllm.errors import ModelError, OptionError, suggest

from ...spec import ModelSpec


class Model(Protocol):
    """A loaded model, which answers those of `ROUTES` that it has as methods.

    Requests are OpenAI's as plain values, answers are JSON; a refusal is a RequestError. A model whose class has more
    methods than its weights have uses says in `routes` which it answers.
    """

    async def check_health(self) -> None:
        """Raise if the model can no longer answer."""


@runtime_checkable
class Generates(Protocol):
    """A model that writes text."""

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


@runtime_checkable
class Embeds(Protocol):
    """A model that makes vectors of texts."""

    async def embeddings(self, request: dict[str, Any]) -> bytes:
        """A vector for each `input`, as floats or base64 of little-endian float32."""


@runtime_checkable
class Ranks(Protocol):
    """A model that says how well texts fit a query."""

    async def rerank(self, request: dict[str, Any]) -> bytes:
        """`documents` by their fit to `query`, the best first, as Jina, Cohere and vLLM answer."""

    async def score(self, request: dict[str, Any]) -> bytes:
        """The fit of each pair of `text_1` and `text_2`, as vLLM answers."""


@runtime_checkable
class Transcribes(Protocol):
    """A model that writes down what is said."""

    async def transcriptions(self, request: dict[str, Any]) -> Media:
        """The text of `file`, which is base64 of a sound file, in the form that `response_format` asks for."""


@runtime_checkable
class Speaks(Protocol):
    """A model that reads aloud."""

    async def speech(self, request: dict[str, Any]) -> Media:
        """`input` as sound."""


@runtime_checkable
class Draws(Protocol):
    """A model that makes images."""

    async def images(self, request: dict[str, Any]) -> bytes:
        """Images of `prompt`, each as base64 of a PNG file."""


@dataclass(frozen=True, slots=True)
class Media:
    """An answer that is not JSON."""

    content: bytes
    media_type: str


# The methods that answer requests, and what a model does in them.
ROUTES = {
    "chat": "chat",
    "chat_batch": "chat",
    "completions": "continue text",
    "embeddings": "embed texts",
    "rerank": "rank texts",
    "score": "score pairs of texts",
    "transcriptions": "transcribe speech",
    "speech": "speak",
    "images": "make images",
}


def routes(model: Model) -> list[str]:
    """The names in `ROUTES` that a model answers."""
    own = getattr(model, "routes", ROUTES)
    return [route for route in ROUTES if route in own and hasattr(model, route)]


@runtime_checkable
class Tokenizes(Protocol):
    """A model that has its tokenizer with it, and not in a folder."""

    async def tokenize(self, request: dict[str, Any]) -> bytes:
        """The tokens of `prompt` or of `messages`, in vLLM's shape."""


@runtime_checkable
class Counts(Protocol):
    """A model that counts what it is asked."""

    def counts(self) -> dict[str, int]:
        """Totals since it was loaded, by name."""


class Engine(Protocol):
    """How to check options and to load a model."""

    name: ClassVar[str]
    generates: ClassVar[bool]  # whether its models continue any text: then a first token shows that one works
    # An engine whose models cannot be held to a JSON schema also says `constrains = False`; one whose package is not
    # called as it is itself says which `packages` its answers follow from.

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


Parsed = TypeVar("Parsed", bound=BaseModel)
_GGUF = 'A GGUF file is for llama.cpp: inferBackend="llama_cpp".'


def check_folder(spec: ModelSpec) -> None:
    """Refuse what is not a model folder in Hugging Face's layout, and weights that are cut short."""
    folder = Path(spec.model_path)
    if any((folder / name).is_file() for name in ("config.json", "adapter_config.json", "model_index.json")):
        for file in sorted(folder.glob("*.safetensors")):
            _check_weights(file)
        return
    wrong = "has no config.json" if folder.is_dir() else "does not exist"
    raise ModelError(
        f"the model folder {folder} {wrong}",
        cure=_GGUF
        if folder.suffix == ".gguf" or any(folder.glob("*.gguf"))
        else "localModelDir is a folder in Hugging Face's layout: config.json, weights and tokenizer.",
    )


def _check_weights(file: Path) -> None:
    """Refuse a file whose header does not describe it: before an engine starts, which may take minutes."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "np"):  # reads the header alone
            pass
    except (SafetensorError, OSError) as error:  # a link into a cache that was emptied, too
        raise ModelError(
            f"{file} is cut short or damaged: {error}",
            cure="Copy it again; after `git clone` also run `git lfs pull`.",
        ) from None


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


def parse_options(kind: type[Parsed], options: Mapping[str, str], engine: str) -> Parsed:
    """The options as fields of `kind`; one that it does not have, or a wrong value, is an OptionError."""
    fields = kind.model_fields
    values = {}
    for key, text in options.items():
        if key not in fields:
            cure = suggest(key, list(fields), what=f"options of {engine}")
            raise OptionError(f"unknown option backend.{key}", key=f"backend.{key}", cure=cure)
        values[key] = parse_value(text, str(fields[key].annotation))
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = f"backend.{first['loc'][0]}"
        raise OptionError(f"{key}: {first['msg'].removeprefix('Value error, ')}", key=key) from None


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
