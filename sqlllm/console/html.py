"""A result as HTML for a notebook: sorted and paged in the browser, from one bounded window, without a network.

Whatever a table holds is text: every value is escaped, and no script ever sees it as markup.
"""

from __future__ import annotations

import json
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from .view import View, cell, is_number

SHORT = 160  # characters of a value before a click shows all of it
LONGEST = 20_000  # characters of a value that are sent to the browser
BUDGET = 1_500_000  # characters of all of them: a page with more is slow
PAGE = 25  # rows


@cache
def asset(name: str) -> str:
    """A file of console/assets, as text."""
    return files("sqlllm.console").joinpath("assets", name).read_text(encoding="utf-8")


def table(view: View) -> str:
    """The whole output: style, table, and the script that sorts and pages it."""
    numbers = [is_number(kind) for _, kind in view.columns]
    head = "".join(
        f'<th class="{"n" if number else "t"}" title="{escape(kind)}">{escape(name)}</th>'
        for (name, kind), number in zip(view.columns, numbers, strict=True)
    )
    body: list[str] = []
    used = 0
    for row in view.rows:
        shown = "".join(_cell(value, number) for value, number in zip(row, numbers, strict=True))
        used += len(shown)
        if used > BUDGET and body:
            break
        body.append(f"<tr>{shown}</tr>")
    note = view.with_rows(len(body)).note
    script = asset("table.js").strip().rstrip(";")
    return (
        f'<div class="sqlllm"><style>{asset("table.css")}</style>'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
        f'<div class="foot"><span class="note">{escape(note)}</span><span class="pages"></span></div>'
        f"<script>({script})(document.currentScript.parentElement, {PAGE})</script></div>"
    )


def _cell(value: Any, number: bool) -> str:
    if value is None:
        return '<td class="null">NULL</td>'
    text = cell(value)
    kind = "n" if number else "t"
    if len(text) <= SHORT and "\n" not in text:
        return f'<td class="{kind}">{escape(text)}</td>'
    first = text[:SHORT].splitlines()[0] if text.strip() else ""
    whole = _pretty(text)
    cut = f"\n… {len(whole) - LONGEST:,} more characters" if len(whole) > LONGEST else ""
    return (
        f'<td class="{kind}"><details><summary>{escape(first)}…</summary>'
        f"<pre>{escape(whole[:LONGEST])}{cut}</pre></details></td>"
    )


def _pretty(text: str) -> str:
    """JSON with its lines; other text as it is."""
    if text[:1] not in "[{" or len(text) > LONGEST:
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def framed(markup: str) -> str:
    """HTML that someone else wrote, in a frame where no script runs and nothing of the page can be reached."""
    return (
        f'<iframe sandbox="" srcdoc="{escape(markup)}" style="width:100%;height:24em;border:1px solid #8884"></iframe>'
    )
