"""A result as a table, lines or Markdown for people, JSON or CSV for programs; an error with its place underlined."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from sqlllm.errors import ScriptErrors, SQLLLMError, TableError
from sqlllm.places import Place, carets, mask_secrets
from sqlllm.session.values import cell, csv_line, plain

from .view import View

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlllm.session import Result

FORMATS = ("table", "line", "markdown", "json", "csv")
_SHORT = 300  # characters of a value in plain text
TABLE_ROWS = 50  # a table is for reading; JSON and CSV give every row


def show(
    result: Result,
    form: str,
    out: Console,
    ready: Callable[[], None] = lambda: None,
    *,
    rows: int = TABLE_ROWS,
    types: bool = False,
) -> None:
    """Print `result` to `out` in one of FORMATS; `ready` is called once its rows are there.

    For people (`table`, `line`, `markdown`) at most `rows` rows, under their columns' names and, with `types`, types.
    """
    if form in ("json", "csv"):
        _for_programs(result, form, out)
        return
    view = View.of(result, rows)
    ready()
    if form == "line":
        out.print(lines(view), soft_wrap=True)
    elif form == "markdown":
        out.print(markdown(view), soft_wrap=True)
    elif result.columns == ["content", "mime"] and out.is_terminal:
        out.print(answers(view))
    else:
        out.print(table(view, rows, types=types))


def _for_programs(result: Result, form: str, out: Console) -> None:
    """Every row, as JSON or CSV."""
    if form == "csv":
        out.out("".join(map(csv_line, [result.columns, *result.rows()])), end="", highlight=False)
        return
    if twice := [name for name, count in Counter(result.columns).items() if count > 1]:
        raise TableError(
            f"two columns are named {twice[0]}, and an object of JSON has room for one",
            cure=f"Name them apart: select {twice[0]} as first_{twice[0]}, ...",
            place=result.place,
        )
    found = [row.asDict(recursive=True) for row in result.rows()]
    out.out(json.dumps(found, default=plain, ensure_ascii=False), highlight=False)


def table(view: View, most: int = TABLE_ROWS, *, types: bool = False) -> Table:
    """At most `most` rows of a view, for a terminal; with `types`, Spark's types under the names."""
    shown = view.with_rows(most)
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", caption_justify="left")
    for (name, type_), kind in zip(shown.columns, shown.kinds, strict=True):
        head = Text(name) + Text(f"\n{type_}", style="not bold dim") if types else Text(name)
        made.add_column(head, justify="left" if kind == "t" else "right", overflow="fold")
    for row in shown.rows:
        made.add_row(*(Text("NULL", style="dim") if value is None else Text(printable(cell(value))) for value in row))
    if types or shown.more or not shown.rows:
        made.caption = shown.note
    for name, url in shown.links:
        made.caption = f"{made.caption or ''}\n{name}: {url}".strip()
    return made


def lines(view: View) -> Text:
    """Each value on a line of its own, for long texts."""
    width = max((len(name) for name, _ in view.columns), default=0)
    shown = Text()
    for number, row in enumerate(view.rows, 1):
        shown.append(f"row {number}\n", "dim")
        for (name, _), value in zip(view.columns, row, strict=True):
            shown.append(f"{name:>{width}}  ", "bold").append(
                "NULL" if value is None else printable(cell(value)).replace("\n", f"\n{' ' * (width + 2)}")
            )
            shown.append("\n")
    return shown.append(view.note, "dim")


def markdown(view: View) -> Text:
    """A table for a page."""
    rows = [[name for name, _ in view.columns], ["---"] * len(view.columns)]
    rows += [["NULL" if value is None else printable(cell(value)) for value in row] for row in view.rows]
    cells = [[text.replace("|", "\\|").replace("\n", "<br>") for text in row] for row in rows]
    return Text("\n".join(f"| {' | '.join(row)} |" for row in cells))


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
