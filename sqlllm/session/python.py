"""Python code that a script holds, run in this process."""

from __future__ import annotations

import ast
import textwrap
import traceback
from typing import TYPE_CHECKING, Any

from sqlllm.dialect import Text
from sqlllm.errors import ParseError, SQLLLMError, TableError

if TYPE_CHECKING:
    from sqlllm.places import Place

_FILE = "<python of the script>"


def run(code: str, text: Text, namespace: dict[str, Any]) -> Any:
    """Run `code`, which stands at `text`, and return the value of its last line if that is an expression.

    Raises ParseError or TableError at the line of the script that is wrong.
    """
    try:
        tree = ast.parse(textwrap.dedent(code))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, _FILE, "exec", dont_inherit=True), namespace)  # noqa: S102 - allow.python is on
        if last is None:
            return None
        assert isinstance(last, ast.Expr)
        return eval(compile(ast.Expression(last.value), _FILE, "eval", dont_inherit=True), namespace)  # noqa: S307 - as above
    except SyntaxError as error:
        raise ParseError(f"Python: {error.msg}", place=place(text, error.lineno)) from error
    except SQLLLMError:
        raise  # of a session.run in the code
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _FILE]
        message = f"Python: {type(error).__name__}: {error}".rstrip(": ")
        raise TableError(message, place=place(text, lines[-1] if lines else None)) from error


def place(text: Text, line: int | None) -> Place:
    """Line `line` of the code, from 1, as a place of the script; the whole code where variables moved the lines."""
    lines = text.raw.splitlines(keepends=True)
    if text.references or line is None or not 1 <= line <= len(lines):
        return text.place
    start = text.start + sum(map(len, lines[: line - 1]))
    return text.place.source.place(start, start + max(len(lines[line - 1].rstrip()), 1))
