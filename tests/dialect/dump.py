"""Scripts and what they parse to, side by side: `python -m tests.dialect.dump --update` rewrites the expected files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

from sqlllm.dialect import Options, Script, SqlText, Statement, Text, parse

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.sql"))


def dump(script: Script) -> str:
    """Statements as indented text, one field a line, places as line:column."""
    return "\n".join(_lines(script.statements, "")) + "\n"


def _lines(items: Iterable[object], indent: str) -> Iterator[str]:
    for item in items:
        place = f" at {str(item.place).rpartition('>:')[2]}" if isinstance(item, Statement) else ""
        yield f"{indent}{type(item).__name__}{place}"
        for field in fields(item):  # type: ignore[arg-type]
            if field.name != "place":
                yield from _field(field.name, getattr(item, field.name), indent + "  ")


def _field(name: str, value: object, indent: str) -> Iterator[str]:
    if isinstance(value, Options):
        for key, option in value.items():
            yield f"{indent}{name} {key} = {option.value.raw!r}"
    elif isinstance(value, Text):
        yield f"{indent}{name} {value.raw!r}"
    elif isinstance(value, SqlText):
        yield f"{indent}{name} {value.text!r}"
    elif isinstance(value, tuple) and value and not isinstance(value[0], str | Text):
        yield f"{indent}{name}"
        yield from _lines(value, indent + "  ")
    elif isinstance(value, tuple):
        yield f"{indent}{name} {[str(item) for item in value]}"
    elif hasattr(value, "__dataclass_fields__"):
        yield f"{indent}{name}"
        yield from _lines([value], indent + "  ")
    else:
        yield f"{indent}{name} {value!r}"


def main() -> None:
    for path in SCRIPTS:
        path.with_suffix(".txt").write_text(dump(parse(path.read_text())))


if __name__ == "__main__" and sys.argv[1:] == ["--update"]:
    main()
