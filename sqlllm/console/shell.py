"""`sqlllm shell`: statements at a prompt, with history, completion and colours; one session until it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer
from prompt_toolkit.completion import Completion as Offer
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from rich.console import Console

from sqlllm import __version__
from sqlllm.errors import SQLLLMError
from sqlllm.places import mask_secrets

from . import progress, render
from .activity import watched
from .interrupts import interruptible
from .language import Language, SessionNames
from .language.lexer import SqlllmLexer
from .script import run_script

if TYPE_CHECKING:
    from sqlllm.session import Session

SHORT = {
    r"\d": ("!show tables;", "tables; `\\d t` the columns of one"),
    r"\m": ("!show models;", "deployed models"),
    r"\r": ("!show runs;", "training runs"),
    r"\u": ("!show usage;", "what statements used of models"),
    r"\e": ("", "`\\e t file.csv` writes a table to a file: .csv, .parquet or .json"),
    r"\?": ("", "this list"),
    r"\q": ("", "leave; also Ctrl-D"),
}
"""What `\\x` stands for, and a word about it."""


class Shell:
    """Reads statements and runs them until the user leaves."""

    def __init__(self, session: Session, out: Console, err: Console) -> None:
        self._session, self._out, self._err = session, out, err
        self._observer = session.observer = progress.observer(out, err)
        self._names = SessionNames(session)
        self._language = Language(self._names)

    def run(self) -> None:
        """Until `\\q` or Ctrl-D."""
        home = self._session.settings.home.expanduser()
        home.mkdir(parents=True, exist_ok=True)
        prompt: PromptSession[str] = PromptSession(
            message="sqlllm> ",
            multiline=True,
            prompt_continuation="     -> ",
            lexer=PygmentsLexer(SqlllmLexer),
            completer=Completions(self._language),
            complete_while_typing=False,
            auto_suggest=AutoSuggestFromHistory(),
            history=MaskedHistory(home / "history"),
            key_bindings=self._keys(),
        )
        self._out.print(f"SQLLLM {__version__}. A statement ends with `;`, \\? lists the short cuts.", highlight=False)
        while True:
            try:
                text = prompt.prompt().strip()
            except KeyboardInterrupt:  # forgets what was typed
                continue
            except EOFError:
                return
            if text.rstrip("; ") == r"\q":
                return
            self.execute(text)

    def execute(self, text: str) -> None:
        """Run what was typed; Ctrl-C stops it and keeps the shell."""
        if text.startswith("\\"):
            text = self._written_out(text)
        if not text:
            return
        try:
            with interruptible(self._session), watched(self._session, self._observer.active):
                result = run_script(self._session, text, "shell")
                if result is not None and result.columns and not self._observer.streamed:
                    self._observer.step("computing the rows to show")
                    render.show(result, "table", self._out, self._observer.stop)
                    self._session.tell_usage()  # of the table that was shown
        except KeyboardInterrupt:
            self._observer.stop()
            self._err.print("stopped")
        except SQLLLMError as error:
            self._observer.stop()
            self._err.print(render.error(error), soft_wrap=True)
        finally:
            self._observer.stop()
            self._names.forget()

    def _written_out(self, text: str) -> str:
        """The statement that a short cut stands for; empty if it is done."""
        word, _, rest = text.rstrip(";").partition(" ")
        if word == r"\d" and rest.strip():
            return f"!desc {rest.strip()};"
        if word == r"\e" and rest.strip():
            *table, file = rest.split(maxsplit=1)
            return " ".join(["!export", *table, json.dumps(file.strip(), ensure_ascii=False)]) + ";"
        if SHORT.get(word, ("",))[0]:
            return SHORT[word][0]
        if word != r"\?":
            self._err.print(f"there is no {word}", highlight=False, markup=False)
        for name, (_, told) in SHORT.items():
            self._out.print(f"  {name}  {told}", highlight=False, markup=False)
        return ""

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter")
        def _(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            text = buffer.text.strip()
            if buffer.complete_state:
                buffer.complete_state = None
            elif not text or text.startswith("\\") or self._language.state(buffer.text + "\n")[0] != "incomplete":
                buffer.validate_and_handle()
            else:
                buffer.insert_text("\n")

        return keys


class Completions(Completer):
    """The language service, for prompt_toolkit."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Offer]:
        cursor = document.cursor_position
        for one in self._language.complete(document.text, cursor):
            yield Offer(one.text, start_position=one.start - cursor, display_meta=f"{one.kind}  {one.help}"[:60])


class MaskedHistory(FileHistory):
    """Keeps on disk what was typed, its secrets starred out, for this user's eyes alone."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        super().__init__(str(path))

    def store_string(self, string: str) -> None:
        super().store_string(mask_secrets(string))
