"""Where a notebook's output goes: the kernel's and the magics' are the same."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from sqlllm.errors import SQLLLMError
from sqlllm.session import Result

from .. import html, render
from ..view import View

Bundle = dict[str, Any]  # a value by mime type
WINDOW = 1000  # rows that are taken to be shown


class Outlet(Protocol):
    """Sends output to the cell that runs; from any thread."""

    def display(self, bundle: Bundle, *, id: str = "", update: bool = False) -> None:  # noqa: A002
        """Show; with an `id` it can be updated later."""

    def stream(self, name: Literal["stdout", "stderr"], text: str) -> None:
        """Print."""


def bundles(result: Result) -> list[Bundle]:
    """What a result looks like: an answer as Markdown, every other table as a table."""
    if result.columns == ["content", "mime"]:
        return [_answer(row.content or "", row.mime) for row in result.rows(WINDOW)]
    if not result.columns:
        return []
    view = View.of(result, WINDOW)
    return [{"text/html": html.table(view), "text/plain": render.text(view)}]


def traceback(error: SQLLLMError) -> list[str]:
    """An error as Jupyter wants it: lines with colours; no stack."""
    return render.ansi(render.error(error)).splitlines()


def _answer(content: str, mime: str) -> Bundle:
    if mime == "html":
        return {"text/html": html.framed(content), "text/plain": content}
    return {"text/markdown": content, "text/plain": content}
