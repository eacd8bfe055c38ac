"""What the shell takes, one entry at a time: statements, short cuts (`\\d`), settings (`.timer on`), exit."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from rich.console import Console

from sqlllm.dialect.nesting import opens
from sqlllm.dialect.tokens import Kind, Tokenizer
from sqlllm.errors import SQLLLMError, nearest
from sqlllm.places import Source

from . import progress, render
from .activity import watched
from .interrupts import interruptible
from .script import run_script

if TYPE_CHECKING:
    from sqlllm.session import Session

SHORT = {
    r"\d": ("!show tables;", "tables; `\\d t` the columns of one"),
    r"\m": ("!show models;", "deployed models"),
    r"\r": ("!show runs;", "training runs"),
    r"\u": ("!show usage;", "what statements used of models"),
    r"\e": ("", "`\\e t file.csv` writes a table to a file: .csv, .parquet or .json"),
    r"\?": ("", "this list; also help"),
    r"\q": ("", "leave; also exit, quit and Ctrl-D"),
}
"""What `\\x` stands for, and a word about it."""

SETTINGS = {
    ".timer": "on or off: how long each statement took",
    ".mode": "how tables are shown: " + ", ".join(render.FORMATS),
    ".rows": "how many rows of a table are shown",
    ".pager": "on or off: long tables in $PAGER",
}
"""What `.name value` sets."""

_LEAVE = re.compile(r"(?:\\q|\.?exit|\.?quit)\s*;?", re.IGNORECASE)
_HELP = re.compile(r"(?:\\\?|\.?help)\s*;?", re.IGNORECASE)
_LINE = re.compile(r"[ \t]*((?:\\\S|\.[a-z]\w*)[^\n]*|\.?(?:exit|quit|help)[ \t]*;?[ \t]*)(?=\r?\n|\Z)", re.IGNORECASE)
_SWITCH = {"on": True, "off": False}


def is_line(text: str) -> bool:
    """Whether `text` is an entry of one line, which needs no `;` to end it."""
    return not text.strip() or _LINE.fullmatch(text.strip()) is not None


def entries(text: str) -> Iterator[tuple[int, str]]:
    """The entries of a text from a pipe, each with the offset where it begins. A block of `!if` is one."""
    position = 0
    while position < len(text):
        space = re.compile(r"\s*").match(text, position)
        position = space.end() if space else position
        line = _LINE.match(text, position)
        if line and text[text.rfind("\n", 0, position) + 1 : position].strip() == "":
            yield position, line[1]
            position = line.end()
            continue
        tokenizer, depth, end = Tokenizer(Source(text[position:])), 0, position
        while tokens := tokenizer.statement():
            depth += opens(tokens)
            end = position + tokens[-1].end
            if depth < 1:
                break
        if tokens and tokens[0].kind is Kind.END:  # a `;` on its own
            position = end
            continue
        if end > position:
            yield position, text[position:end]
        if not tokens:
            return
        position = end


class Entries:
    """Runs entries in a session and shows what they give."""

    def __init__(self, session: Session, out: Console, err: Console) -> None:
        self._session, self._out, self._err = session, out, err
        self._observer = session.observer = progress.observer(out, err)
        self.mode, self.timer, self.pager, self.rows = "table", False, False, render.TABLE_ROWS
        self.left = False  # the user wants to leave

    def run_all(self, text: str, name: str) -> int:
        """Run the entries of `text` until one fails; the exit code: 0, 1 after an error, 130 after Ctrl-C."""
        for start, entry in entries(text):
            line = text.count("\n", 0, start)
            column = start - text.rfind("\n", 0, start) - 1
            if code := self.run(entry, name, "\n" * line + " " * column):
                return code
            if self.left:
                break
        return 0

    def run(self, text: str, name: str = "shell", before: str = "") -> int:
        """Run one entry and give its exit code; `before` stands in for what precedes it in its file."""
        text = text.strip()
        if not text:
            return 0
        if _LEAVE.fullmatch(text):
            self.left = True
            return 0
        if _HELP.fullmatch(text):
            return self._help()
        if text.startswith("."):
            return self._set(text)
        if text.startswith("\\"):
            text, before = self._written_out(text), ""
            if not text:
                return 1
        return self._statement(before + text, name)

    def _statement(self, text: str, name: str) -> int:
        started = time.monotonic()
        try:
            with interruptible(self._session), watched(self._session, self._observer.active):
                result = run_script(self._session, text, name)
                if result is not None and result.columns and not self._observer.streamed:
                    self._observer.step("computing the rows to show")
                    with self._paged():
                        render.show(result, self.mode, self._out, self._observer.stop, rows=self.rows, types=True)
                    self._session.tell_usage()  # of the table that was shown
        except KeyboardInterrupt:
            self._observer.stop()
            self._err.print("stopped")
            return 130
        except SQLLLMError as error:
            self._observer.stop()
            self._err.print(render.error(error), soft_wrap=True)
            return 1
        finally:
            self._observer.stop()
        if self.timer:
            self._err.print(f"{time.monotonic() - started:.2f} s", style="dim", highlight=False)
        return 0

    def _paged(self) -> AbstractContextManager[object]:
        if self.pager and self._out.is_terminal:
            return self._out.pager(styles=True)
        return nullcontext()

    def _help(self) -> int:
        self._out.print("A statement ends with `;`. These stand alone in a line:", highlight=False, markup=False)
        for name, about in [*((name, about) for name, (_, about) in SHORT.items()), *SETTINGS.items()]:
            self._out.print(f"  {name:<7} {about}", highlight=False, markup=False)
        return 0

    def _set(self, text: str) -> int:
        name, _, value = text.rstrip("; ").partition(" ")
        name, value = name.lower(), value.strip().lower()
        if name in (".timer", ".pager") and value in _SWITCH:
            setattr(self, name[1:], _SWITCH[value])
        elif name == ".mode" and value in render.FORMATS:
            self.mode = value
        elif name == ".rows" and value.isdecimal() and int(value):
            self.rows = int(value)
        elif name in SETTINGS:
            return self._refuse(f"{name} takes {SETTINGS[name]}")
        else:
            near = nearest(name, [*SETTINGS, ".exit", ".help"])
            return self._refuse(f"there is no {name}" + (f"; did you mean {near}?" if near else "; help lists all"))
        return 0

    def _written_out(self, text: str) -> str:
        """The statement that a short cut stands for; empty if there is no such one."""
        word, _, rest = text.rstrip(";").partition(" ")
        if word == r"\d" and rest.strip():
            return f"!desc {rest.strip()};"
        if word == r"\e" and rest.strip():
            *table, file = rest.split(maxsplit=1)
            return " ".join(["!export", *table, json.dumps(file.strip(), ensure_ascii=False)]) + ";"
        if SHORT.get(word, ("",))[0]:
            return SHORT[word][0]
        self._refuse(f"there is no {word}; help lists all" if word not in SHORT else f"{word}: {SHORT[word][1]}")
        return ""

    def _refuse(self, message: str) -> int:
        self._err.print(message, highlight=False, markup=False)
        return 1
