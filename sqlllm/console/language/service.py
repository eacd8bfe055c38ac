"""Completion, inspection and `is it finished`, over a script's text and a session's names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from sqlllm.dialect import Cell, Load, Run, Select, parse
from sqlllm.dialect.nesting import opens
from sqlllm.dialect.parser import STATEMENTS
from sqlllm.dialect.tokens import Kind, Tokenizer
from sqlllm.places import Source

from . import catalogue, manual
from .names import Names
from .slots import Slot, slot

_MOST = 300  # completions
_SOURCES = re.compile(
    r"\b(?:from|join)\s+(`[^`]+`|[\w.]+)(?:\s+(?:as\s+)?(?!(?:where|on|join|group|order|as|left|inner)\b)(\w+))?", re.I
)
_NAMES: dict[type, str] = {Load: "table", Select: "table", Run: "output"}
_PAGES = {"train": "run", "predict": "run", "with": "select", "unregister": "register"}


@dataclass(frozen=True)
class Completion:
    """`text[start:cursor]` may become `text`; `kind` names what it is, `help` explains it in one line."""

    text: str
    kind: str
    help: str
    start: int


class Language:
    """Answers for one session; without one, it knows the dialect alone."""

    def __init__(self, names: Names | None = None) -> None:
        self.names = names or Names()

    def complete(self, text: str, cursor: int) -> list[Completion]:
        """What can stand at `cursor` (an offset), the likeliest first."""
        at = slot(text, cursor)
        found: dict[str, Completion] = {}
        word = at.word.lower()
        for name, kind, help_ in self._candidates(at, text):
            low = name.lower()
            if low.startswith(word) or (len(word) > 2 and word in low):
                found.setdefault(name, Completion(name, kind, help_, at.start))
        # What begins with the word goes before what holds it; the catalogue's own order stays.
        ranked = sorted(found.values(), key=lambda one: not one.text.lower().startswith(word))
        return ranked[:_MOST]

    def inspect(self, text: str, cursor: int) -> str:
        """What the word at `cursor` is, in Markdown; empty if nothing is known of it."""
        end = cursor
        while end < len(text) and re.match(r"[\w.-]", text[end]):
            end += 1
        at = slot(text, end)
        word = at.word.rpartition(".")[2] if at.kind == "sql" else at.word
        if at.kind == "statement" and word.lower() in STATEMENTS:
            page = manual.page(f"sql/{_PAGES.get(word.lower(), word.lower())}")
            return page or catalogue.first_words().get(word.lower(), "")
        if not word:
            return ""
        for name, kind, help_ in self._candidates(at, text):
            if name.lower() in (word.lower(), at.word.lower()):
                return self._described(name, kind, help_)
        return ""

    def state(self, text: str) -> tuple[Literal["complete", "incomplete", "invalid"], str]:
        """Whether `text` is a whole script, and how far to indent the next line if it is not."""
        tokenizer, last, depth = Tokenizer(Source(text)), [], 0
        while tokens := tokenizer.statement():
            last = tokens
            depth += opens(tokens)
        if tokenizer.errors or depth > 0:
            return "incomplete", ""
        if last and last[-1].kind is Kind.CELL:
            done = any(isinstance(one, Cell) and one.body.raw.strip() for one in parse(text).statements)
            return ("complete", "") if done and text.endswith("\n") else ("incomplete", "")
        if last and last[-1].kind is not Kind.END:
            return "incomplete", "" if last[0].text == "!" else "  "
        return ("invalid" if parse(text).errors else "complete"), ""

    # --- candidates --------------------------------------------------------------------------------------------

    def _candidates(self, at: Slot, text: str) -> Iterator[tuple[str, str, str]]:
        """Name, kind and help of all that fits a slot."""
        if at.kind == "statement":
            yield from _of(catalogue.first_words(), "keyword")
        elif at.kind == "keyword":
            yield from ((word, "keyword", "") for word in at.next)
        elif at.kind == "command":
            yield from _of(catalogue.commands(), "command")
            yield from ((name, "macro", value[:60]) for name, value in self.names.variables().items())
        elif at.kind == "argument":
            yield from self._arguments(at, text)
        elif at.kind == "format":
            yield from _of(catalogue.formats(at.head), "format")
        elif at.kind == "module":
            yield from _of(catalogue.modules(), "module")
        elif at.kind == "path":
            yield from self._paths(at)
        elif at.kind == "option":
            keys = catalogue.options(at.head, *_subject(at))
            yield from ((key, "option", help_) for key, help_ in keys.items() if key not in at.options)
        elif at.kind == "value":
            yield from self._values(at, text)
        elif at.kind == "table":
            yield from self._tables(text)
            if at.head == "save":
                yield from _of(catalogue.save_modes(), "keyword")
            else:
                yield ("command", "table", "no table: the module takes none")
        elif at.kind == "column":
            yield from _of(self.names.columns(at.before[1]), "column")
        elif at.kind == "setting":
            yield from ((name, "variable", value) for name, value in self.names.variables().items())
            yield from _of(catalogue.settings(), "setting")
        elif at.kind == "variable":
            yield from ((name, "variable", value) for name, value in self.names.variables().items())
            yield ("env:", "variable", "the environment")
        elif at.kind == "cell":
            yield from _of(catalogue.cells(), "cell")
        elif at.kind == "parameter":
            yield from _of(catalogue.parameters(at.head), "parameter")
        elif at.kind == "sql":
            yield from self._sql(at, text)

    def _sql(self, at: Slot, text: str) -> Iterator[tuple[str, str, str]]:
        before = at.before[-1].lower()
        if before in ("from", "join", "table", "into", "view"):
            yield from self._tables(text)
            return
        first = text.rfind(";", 0, at.start) + 1
        end = text.find(";", at.start)
        used = [
            (found[1].strip("`"), found[2]) for found in _SOURCES.finditer(text, first, end if end >= 0 else len(text))
        ]
        owner, dot, _ = at.word.rpartition(".")
        for table, alias in used:
            columns = self.names.columns(table)
            if dot and owner.lower() in (table.lower(), (alias or "").lower()):
                yield from ((f"{owner}.{name}", "column", kind) for name, kind in columns.items())
            elif not dot:
                yield from ((name, "column", f"{kind}, of {table}") for name, kind in columns.items())
        if dot:
            return
        yield from ((name, "model", "asks the model; takes llm_param(...)") for name in self.names.models())
        yield from _made(text, "model")
        yield from ((name, "function", help_) for name, help_ in catalogue.functions().items())
        yield from ((word, "keyword", "") for word in catalogue.SQL_WORDS)
        yield from self._tables(text)

    def _tables(self, text: str) -> Iterator[tuple[str, str, str]]:
        """Tables of the session, and those that the text itself names."""
        yield from ((name, "table", kind) for name, kind in self.names.tables().items())
        yield from _made(text, "table")

    def _arguments(self, at: Slot, text: str) -> Iterator[tuple[str, str, str]]:
        name, written = at.head[1:], at.before
        if name == "show" and not written:
            from sqlllm.session.commands.show import GLANCES, SUBJECTS

            yield from (
                (subject, "argument", catalogue.line_of(shown)) for subject, shown in {**GLANCES, **SUBJECTS}.items()
            )
        elif name in ("byzerllm", "llm"):
            if not written:
                yield from (("setup", "argument", "what the next action may use"), ("model", "argument", "the models"))
            elif written == ("setup",):
                from sqlllm.session.llm.setup import PROFILES

                yield from ((profile, "argument", "") for profile in PROFILES)
            elif written == ("model",):
                yield from ((word, "argument", "") for word in ("list", "exists", "remove"))
            else:
                yield from ((model, "model", "") for model in self.names.models())
        elif name in ("hdfs", "fs"):
            yield from (_files(at.word) if written else [("-ls", "argument", "the files of a folder")])
        else:
            yield from self._tables(text)

    def _values(self, at: Slot, text: str) -> Iterator[tuple[str, str, str]]:
        key = at.key.lower()
        if key in ("inputtable", "evaltable", "input"):
            yield from self._tables(text)
        elif key in ("udfname", "model"):
            yield from ((name, "model", "deployed") for name in self.names.models())
            yield from _of(self.names.runs(), "run")
        elif key.endswith(("dir", "pathprefix", "folder", "path")):
            yield from _files(at.word)
        else:
            told = catalogue.options(at.head, *_subject(at)).get(at.key, "") if at.head[:1] not in ("-", "!") else ""
            yield from ((value, "value", "") for value in catalogue.values(at.head, at.key, told))

    def _paths(self, at: Slot) -> Iterator[tuple[str, str, str]]:
        format_ = at.before[-2].lower() if len(at.before) > 1 else ""
        if format_ == "llm":
            yield from ((name, "table", "") for name in ("models", "runs"))
        elif format_ in ("jsonstr", "csvstr", "script", "variable"):
            yield from ((name, "variable", value) for name, value in self.names.variables().items())
        elif format_ in ("hive", "table"):
            yield from _of(self.names.tables(), "table")
        elif self.names.connections(format_):
            yield from ((f"{name}.", "connection", "") for name in self.names.connections(format_))
        elif at.head in ("load", "save", "include") and format_ not in ("http", "rate", "kafka", "jdbc"):
            yield from _files(at.word)

    def _described(self, name: str, kind: str, help_: str) -> str:
        if kind == "table" and (columns := self.names.columns(name)):
            lines = "\n".join(f"| `{column}` | {type_} |" for column, type_ in columns.items())
            return f"**{name}**, {help_}\n\n| column | type |\n|---|---|\n{lines}"
        if kind == "cell":
            return manual.section("sql/cells", f"--%{name}") or help_
        return f"**{name}** ({kind})" + (f"\n\n{help_}" if help_ else "")


def _made(text: str, kind: str) -> Iterator[tuple[str, str, str]]:
    """The tables, or the models, that the statements of `text` name, each with its line."""
    tokenizer, start, line = Tokenizer(Source(text)), 0, 1
    while tokens := tokenizer.statement():
        line += text.count("\n", start, tokens[0].start)
        start = tokens[0].start
        if tokens[0].kind is Kind.WORD:
            found = _named(text[start : tokens[-1].end])
            yield from ((name, kind, f"line {line}") for name, made in found if made == kind)


@lru_cache(maxsize=4096)  # the other statements of a script are as they were at the key before
def _named(text: str) -> tuple[tuple[str, str], ...]:
    """What a statement names: its table, its model."""
    found = []
    for one in parse(text).statements:
        named = getattr(one, _NAMES.get(type(one), ""), None)
        if named is not None and not named.references:
            found.append((named.raw, "table"))
        if isinstance(one, Run) and (model := one.options.get("udfName")) and not model.value.references:
            found.append((model.value.raw, "model"))
    return tuple(found)


def _of(words: catalogue.Words, kind: str) -> Iterator[tuple[str, str, str]]:
    return ((name, kind, help_) for name, help_ in words.items())


def _subject(at: Slot) -> tuple[str, str]:
    """The format or the module of a statement, and its action."""
    words = at.before
    if at.head in ("load", "connect", "register"):
        of = words[1] if len(words) > 1 else ""
    else:
        of = next((words[i + 1] for i, word in enumerate(words[:-1]) if word.lower() in ("as", "into")), "")
    return of, at.options.get("action", "")


def _files(word: str) -> Iterable[tuple[str, str, str]]:
    """Files and folders that a half-written path may mean."""
    folder, slash, _ = word.rpartition("/")
    where = Path(folder + slash or ".").expanduser()
    try:
        entries = sorted(os.scandir(where), key=lambda entry: entry.name)[:_MOST]
    except (OSError, ValueError):  # no such folder; a NUL in its name
        return
    for entry in entries:
        if not entry.name.startswith("."):
            is_folder = entry.is_dir()
            yield f"{folder}{slash}{entry.name}{'/' if is_folder else ''}", "path", "folder" if is_folder else "file"
