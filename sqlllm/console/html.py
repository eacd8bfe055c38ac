"""A result as HTML for a notebook: sorted and paged in the browser, from one bounded window, without a network.

Whatever a table holds is text: every value is escaped, and no script ever sees it as markup.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from sqlllm.session.values import cell

from .view import View

SHORT = 160  # characters of a value before a click shows all of it
LONGEST = 20_000  # characters of a value that are sent to the browser
BUDGET = 1_500_000  # characters of all of them: a page with more is slow
PAGE = 25  # rows
SEARCHED = 10  # rows: a table with more has a field to search in
_WORD = re.compile(r"(?=.*[^\w\s])\S{1,40}|[\d\s:.,/+-]{1,40}")  # a browser would break it: a-b, 2025-04-12 08:00
CUT = "more characters"  # ends a value that is not shown whole


@cache
def asset(name: str) -> str:
    """A file of console/assets, as text."""
    return files("sqlllm.console").joinpath("assets", name).read_text(encoding="utf-8")


def table(view: View) -> str:
    """The whole output: style, table, and the script that sorts and pages it."""
    kinds = view.kinds
    head = "".join(
        f'<th class="{look}"><span class="name">{escape(name)}</span>'
        f'<button class="kind" title="{escape(kind)}: show what the column holds">{escape(kind)}</button></th>'
        for (name, kind), look in zip(view.columns, kinds, strict=True)
    )
    body: list[str] = []
    used = 0
    for row in view.rows:
        shown = "".join(_cell(value, kind) for value, kind in zip(row, kinds, strict=True))
        used += len(shown)
        if used > BUDGET and body:
            break
        body.append(f"<tr>{shown}</tr>")
    cut = any(f"{CUT}</pre>" in row for row in body)
    note = escape(view.with_rows(len(body)).note)
    links = "".join(f'<a href="{escape(url)}" target="_blank">{escape(name)}</a>' for name, url in view.links)
    search = (
        f'<input class="search" type="search" placeholder="Search {len(body):,} rows" aria-label="Search the rows">'
        if len(body) > SEARCHED
        else ""
    )
    table, chart = (asset(name).strip().rstrip(";") for name in ("table.js", "chart.js"))
    return (
        f'<div class="sqlllm"><style>{asset("colours.css")}{asset("table.css")}</style>{search}'
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
        f'<div class="foot"><span class="note">{note}</span><span class="found"></span>'
        f'<span class="pages"></span>{links}</div>'
        f"{_export(view, len(body), cut) if body else ''}{_chart(view) if body else ''}"
        f"<script>{{const root = document.currentScript.parentElement; "
        f"({chart})(root, ({table})(root, {PAGE}))}}</script></div>"
    )


def _export(view: View, rows: int, cut: bool) -> str:
    """The rows that are shown as CSV, at a click; the statements for the whole table."""
    name = view.name if view.name.isidentifier() else ""
    all_ = "all" if rows == len(view.rows) and not view.more else f"the first {rows:,}"
    file = f"{name or 'table'}."
    statements = f'!export {name} "{file}parquet";\n!export {name} "{file}csv";'.replace("  ", " ")
    python = f"--%python\n--%input={name}\n{name}.toPandas()" if name else "--%python\n_.toPandas()"
    button = f'<button class="csv" data-file="{file}csv">CSV of {all_} rows</button>'
    return (
        f'<details class="panel"><summary>Export</summary>{"" if cut else button}'
        f"<p>Every row, with a statement:</p><pre>{escape(statements)}</pre>"
        f"<p>In Python:</p><pre>{escape(python)}</pre></details>"
    )


def _chart(view: View) -> str:
    """Where the rows that are shown are drawn, once it is opened."""
    chosen = "".join(
        f'<label class="{key}">{label} <select name="{key}"></select></label>'
        for key, label in (("kind", "Kind"), ("x", "x"), ("y", "y"), ("of", "for each x, the"))
    )
    keep = f'<p>Of the whole table, and kept:</p><pre><code data-table="{view.name}"></code></pre>'
    return (
        f'<details class="panel chart"><summary>Chart</summary><div class="choice">{chosen}</div>'
        f"<figure><svg></svg></figure>{keep if view.name.isidentifier() else ''}</details>"
    )


def _cell(value: Any, kind: str) -> str:
    if value is None:
        return f'<td class="{kind} null">NULL</td>'
    if isinstance(value, (bytes, bytearray)) and (image := _image(bytes(value))):
        return f'<td class="t">{image}</td>'
    text = cell(value)
    if len(text) <= SHORT and "\n" not in text:
        return f'<td class="{kind}{" w" if kind == "t" and _WORD.fullmatch(text) else ""}">{escape(text)}</td>'
    first = text[:SHORT].splitlines()[0] if text.strip() else ""
    whole = _pretty(text)
    kept = "" if whole is text else ' class="json"'
    cut = f"\n… {len(whole) - LONGEST:,} {CUT}" if len(whole) > LONGEST else ""
    return (
        f'<td class="{kind}"><details><summary>{escape(first)}…</summary>'
        f"<pre{kept}>{escape(whole[:LONGEST])}{cut}</pre></details></td>"
    )


_IMAGES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif"}  # by their first bytes


def _image(value: bytes) -> str:
    """An image, if the bytes are an image that is not too large for the page."""
    kind = next((kind for first, kind in _IMAGES.items() if value.startswith(first)), "")
    if not kind or len(value) > BUDGET // 4:
        return ""
    return f'<img alt="{len(value):,} bytes" src="data:image/{kind};base64,{b64encode(value).decode()}">'


def _pretty(text: str) -> str:
    """JSON with its lines; other text as it is."""
    if text[:1] not in "[{" or len(text) > LONGEST:
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def drawing(svg: str) -> str:
    """A chart in the page's own colours, light or dark."""
    return f'<div class="sqlllm-drawn"><style>{asset("colours.css")}{asset("drawn.css")}</style>{svg}</div>'


def framed(markup: str) -> str:
    """HTML that someone else wrote, in a frame where no script runs and nothing of the page can be reached."""
    return (
        f'<iframe sandbox="" srcdoc="{escape(markup)}" style="width:100%;height:24em;border:1px solid #8884"></iframe>'
    )
