"""ai_chunk, ai_parse_document, llm_split and ai_answer: what they stand for, and the Python functions behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.errors import ModelError, suggest
from sqlllm.udfs import literals
from sqlllm.udfs.counting import most_tokens

if TYPE_CHECKING:
    from .models import Model
    from .session import Session

NAMES = ("llm_split",)
"""Functions that Spark gets when a query first calls them."""
_PARSE = "sqlllm_parse_document"
_WAYS = ("markdown", "text", "tokens", "characters")
_MAX_TOKENS, _OVERLAP = 400, 40


def register(session: Session, name: str) -> bool:
    """Make `name` a function of SQL if it is one of these; whether it is."""
    if name.lower() == "llm_split":
        from sqlllm.udfs import splitting

        splitting.register_split(session.spark)
        return True
    if name.lower() == _PARSE:
        from sqlllm.udfs import documents

        documents.register(session.spark)
        return True
    return False


def _parse_document(_: Session, arguments: Mapping[str, str]) -> str:
    """JSON in Databricks' shape; its options are known, and one that would change the result is refused."""
    from sqlllm.udfs.parsing import process

    for key, value in literals.pairs(arguments["options"]) or () if "options" in arguments else ():
        if key != "version" or literals.as_text(value) != "2.0":
            raise ValueError(f"ai_parse_document has the option 'version', which is '2.0', and not {key}")
    process.require_packages()
    return f"parse_json({_PARSE}({arguments['content']}))"


def _chunk(session: Session, arguments: Mapping[str, str]) -> str:
    from sqlllm.udfs import splitting

    by = _constant(arguments, "by", "markdown")
    if by not in _WAYS:
        raise ValueError(f"by is {', '.join(map(repr, _WAYS))}, not {by!r}")
    model = _model(session, arguments)
    tokenizer, most = _files(model) if model and by != "characters" else ("", None)
    usual = min(_MAX_TOKENS, most or _MAX_TOKENS)
    max_tokens = _constant(arguments, "max_tokens", usual)
    overlap = _constant(arguments, "overlap", min(_OVERLAP, max_tokens // 10 if isinstance(max_tokens, int) else 0))
    for name, value, least in (("max_tokens", max_tokens, 1), ("overlap", overlap, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} of ai_chunk is a number from {least}, not {value!r}")
    if overlap >= max_tokens:
        raise ValueError(f"overlap is less than max_tokens: {overlap} is not less than {max_tokens}")
    if model and most and max_tokens > most:
        raise ValueError(f"{model.name} reads {most} tokens of a text: max_tokens cannot be {max_tokens}")
    name = splitting.register_chunk(session.spark, tokenizer, max_tokens, overlap, by)
    return f"{name}({arguments['text']})"


def _constant(arguments: Mapping[str, str], key: str, default: Any) -> Any:
    if key not in arguments:
        return default
    try:
        return literals.constant(arguments[key])
    except literals.NotConstant:
        raise ValueError(f"{key} of ai_chunk is written out, as in {key} => {default!r}") from None


def _model(session: Session, arguments: Mapping[str, str]) -> Model | None:
    """The model that is named, else the setting's; None if there is neither. Raises ModelError, ValueError."""
    named = literals.as_text(arguments.get("model", "''"))
    if named is None:
        raise ValueError("model is a text in quotes, as in model => 'emb'")
    named = named or session.settings.llm.embedding_model
    if not named:
        return None
    if (found := session.models.find(named)) is None:
        known = sorted(session.models)
        cure = suggest(named, known, what="models") if known else "Deploy it first."
        raise ModelError(f"there is no model {named}", cure=cure)
    return found


def _files(model: Model) -> tuple[str, int | None]:
    """The tokenizer of a model's folder, and how many tokens it reads; empty where its files are elsewhere."""
    folder = Path(model.folder) if model.folder else None

    def read(name: str) -> str | None:
        with suppress(OSError):
            return (folder / name).read_text("utf-8") if folder else None
        return None

    tokenizer = read("tokenizer.json") or ""
    return tokenizer, most_tokens(read) if tokenizer else None


def _answer(session: Session, arguments: Mapping[str, str]) -> str:
    from .indexes import answering

    return answering.written(session, arguments)


WRITTEN: dict[str, Callable[[Session, Mapping[str, str]], str]] = {
    "ai_answer": _answer,
    "ai_chunk": _chunk,
    "ai_parse_document": _parse_document,
}
"""The SQL that a call stands for, by its function; ValueError for an argument that cannot be."""
