"""Where a notebook's output goes: the kernel's and the magics' are the same."""

from __future__ import annotations

import re
from typing import Any, Literal, Protocol

from sqlllm.errors import SQLLLMError
from sqlllm.session import Result

from .. import html, render
from ..view import View

Bundle = dict[str, Any]  # a value by mime type
_GREEN, _BOLD = "\x1b[32m", "\x1b[1m"  # Jupyter's green is too pale on the ground of its errors
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
        return [bundle for row in result.rows(WINDOW) for bundle in answer(row.content or "", row.mime)]
    if not result.columns:
        return []
    view = View.of(result, WINDOW)
    return [{"text/html": html.table(view), "text/plain": render.text(view)}]


def traceback(error: SQLLLMError) -> list[str]:
    """An error as Jupyter wants it: lines with colours; no stack."""
    return render.ansi(render.error(error)).replace(_GREEN, _BOLD).splitlines()


def answer(content: str, mime: str) -> list[Bundle]:
    """A text of a model, then the images that it holds as data: JupyterLab's Markdown shows only those of addresses."""
    if mime == "html":
        return [{"text/html": html.framed(content), "text/plain": content}]
    shown = _IMAGE.sub("", content)
    images: list[Bundle] = [{kind: data, "text/plain": "an image"} for kind, data in _IMAGE.findall(content)]
    return [{"text/markdown": shown, "text/plain": shown}, *images]


_IMAGE = re.compile(r"!\[[^\]\n]*\]\(data:(image/(?:png|jpeg|gif));base64,([A-Za-z0-9+/=\s]+)\)")
