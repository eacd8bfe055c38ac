"""A result as a table for people, JSON or CSV for programs; an error with its place underlined."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from sqlllm.errors import ScriptErrors, SQLLLMError
from sqlllm.places import Place, carets, mask_secrets
from sqlllm.session.values import cell, csv_line, plain

from .view import View
from .words import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlllm.session import Result

FORMATS = ("table", "json", "csv")
_SHORT = 300  # characters of a value in plain text
TABLE_ROWS = 50  # a table is for reading; JSON and CSV give every row


def show(result: Result, form: str, out: Console, ready: Callable[[], None] = lambda: None) -> None:
    """Print `result` to `out` in one of FORMATS; `ready` is called once its rows are there."""
    if form == "table":
        view = View.of(result, TABLE_ROWS)
        ready()
        out.print(answers(view) if result.columns == ["content", "mime"] and out.is_terminal else table(view))
    elif form == "json":
        out.out(json.dumps([row.asDict(recursive=True) for row in result.rows()], default=plain, ensure_ascii=False))
    else:
        out.out("".join(map(csv_line, [result.columns, *result.rows()])), end="")


def table(view: View, most: int = TABLE_ROWS) -> Table:
    """At most `most` rows of a view, for a terminal."""
    shown = view.with_rows(most)
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", caption_justify="left")
    for (name, _), kind in zip(shown.columns, shown.kinds, strict=True):
        made.add_column(Text(name), justify="left" if kind == "t" else "right", overflow="fold")
    for row in shown.rows:
        made.add_row(*(Text("NULL", style="dim") if value is None else Text(printable(cell(value))) for value in row))
    if shown.more:
        made.caption = f"the first {counted(len(shown.rows), 'row')}"
    elif not shown.rows:
        made.caption = "no rows"
    for name, url in shown.links:
        made.caption = f"{made.caption or ''}\n{name}: {url}".strip()
    return made


def answers(view: View) -> Group:
    """What models wrote, as Markdown for a terminal."""
    return Group(*(Markdown(printable(content or "")) for content, _ in view.rows))


def printable(text: str) -> str:
    """`text` without what a terminal would take for commands."""
    return text.translate(_CONTROLS)


_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def text(view: View, width: int = 120) -> str:
    """A view as plain text, where nothing better can be shown."""
    out = Console(file=io.StringIO(), width=width, color_system=None)
    short = replace(view, rows=tuple(tuple(_shortened(value) for value in row) for row in view.rows[:21]))
    out.print(table(short, 20))
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def _shortened(value: Any) -> Any:
    return f"{value[:_SHORT]}…" if isinstance(value, str) and len(value) > _SHORT else value


def error(error: SQLLLMError) -> Text:
    """Message, place with the wrong part underlined, cure: of every error, if there are several."""
    errors = error.errors if isinstance(error, ScriptErrors) else (error,)
    return Text("\n\n").join([_one(each) for each in errors] + ([Text("\n".join(error.notes))] if error.notes else []))


def ansi(shown: Text) -> str:
    """A text with its colours as escape sequences, which notebooks and terminals show."""
    out = Console(file=io.StringIO(), force_terminal=True, color_system="standard", soft_wrap=True)
    out.print(shown, end="")
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def _one(error: SQLLLMError) -> Text:
    shown = Text.assemble((type(error).__name__, "bold red"), ": ", mask_secrets(error.message))
    if error.place is not None:
        shown.append("\n").append_text(_place(error.place))
    if error.cure:
        shown.append("\n").append(mask_secrets(error.cure), "green")
    return shown


def _place(place: Place) -> Text:
    line, before, within, after = place.in_line()
    return Text.assemble(
        (f"{place}\n", "dim"),
        (f"{line} | ", "dim"),
        before,
        (within, "bold red underline"),
        after,
        (f"\n{' ' * len(f'{line} ')}| ", "dim"),
        (carets(before, within), "bold red"),
    )
