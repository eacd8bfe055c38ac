"""Where the oracle's answers come from."""

from __future__ import annotations

import csv
import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from sqlllm.errors import ModelError, OptionError, PackageError, suggest

from ...protocol import RequestError


def find_key(pattern: str | None) -> re.Pattern[str] | None:
    """The compiled pattern; OptionError if it is none."""
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise OptionError(f"backend.key is not a regular expression: {error}", key="backend.key") from None


def find_function(name: str) -> Callable[[str], str | None]:
    """The function `module:function`; what it raises is an error of its prompt alone."""
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"the oracle's function {name} is not there: {error}",
            cure="Write module:function; the module lies in the working folder or is installed.",
        ) from error

    def ask(prompt: str) -> str | None:
        try:
            answer = function(prompt)
        except Exception as error:  # a user's function raises what it likes
            message = f"the oracle's function failed: {type(error).__name__}: {error}"
            raise RequestError(message, code="oracle_function") from error
        return None if answer is None else str(answer)

    return ask


def read_table(path: Path, prompt: str, answer: str) -> dict[str, str]:
    """Prompts to answers, from a Parquet, CSV or JSON file (also one object a line), or a folder of them."""
    files = [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if file.suffix in _READERS]
    if not files:
        raise ModelError(f"{path} holds no table", cure=f"A table is a file of {', '.join(_READERS)}.")
    answers: dict[str, str] = {}
    for file in files:
        if file.suffix not in _READERS:
            raise ModelError(f"{file} is not a table", cure=f"A table is a file of {', '.join(_READERS)}.")
        for key, value in _READERS[file.suffix](file, (prompt, answer)):
            if key is None or value is None:
                continue
            asked, said = _text(key), _text(value)
            if answers.setdefault(asked, said) != said:
                raise ModelError(f"{file} has two answers to {asked[:80]!r}: {answers[asked][:40]!r}, {said[:40]!r}")
    return answers


def in_words(text: str) -> list[str]:
    """The words with the space that follows them; joined they are the text."""
    return re.findall(r"\s*\S+\s*|\s+", text)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def _parquet(path: Path, columns: tuple[str, str]) -> Iterator[tuple[Any, Any]]:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise PackageError.from_import_error(error, package="pyarrow", extra="spark") from error
    with pq.ParquetFile(path) as file:
        _check(path, columns, file.schema_arrow.names)
        for batch in file.iter_batches(columns=list(dict.fromkeys(columns))):
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)


def _csv(path: Path, columns: tuple[str, str]) -> Iterator[tuple[Any, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as lines:
        rows = csv.DictReader(lines)
        _check(path, columns, rows.fieldnames or ())
        yield from ((row[columns[0]], row[columns[1]]) for row in rows)


def _json(path: Path, columns: tuple[str, str]) -> Iterator[tuple[Any, Any]]:
    content = path.read_bytes().strip()
    try:
        rows = orjson.loads(content) if content[:1] == b"[" else [orjson.loads(line) for line in content.splitlines()]
    except orjson.JSONDecodeError as error:
        raise ModelError(f"{path} is not JSON: {error}") from None
    for row in rows:
        _check(path, columns, row)
        yield row[columns[0]], row[columns[1]]


def _check(path: Path, columns: tuple[str, str], there: Iterable[str]) -> None:
    for option, name in zip(("prompt", "answer"), columns, strict=True):
        if name not in there:
            cure = f"Name it in backend.{option}. " + suggest(name, list(there), what="columns")
            raise ModelError(f"{path} has no column {name}", cure=cure)


_READERS: dict[str, Callable[[Path, tuple[str, str]], Iterator[tuple[Any, Any]]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".json": _json,
    ".jsonl": _json,
}
