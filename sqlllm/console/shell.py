"""`sqlllm shell`: statements at a prompt, with history, completion and colours; one session until it ends."""

from __future__ import annotations

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
from sqlllm.places import mask_secrets

from .entries import Entries, is_line
from .language import Language, SessionNames
from .language.lexer import SqlllmLexer

if TYPE_CHECKING:
    from sqlllm.session import Session


class Shell:
    """Reads statements and runs them until the user leaves."""

    def __init__(self, session: Session, out: Console, err: Console, mode: str = "table") -> None:
        self._session, self._out = session, out
        self._entries = Entries(session, out, err)
        self._entries.mode = mode
        self._names = SessionNames(session)
        self._language = Language(self._names)

    def run(self) -> None:
        """Until `exit` or Ctrl-D."""
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
        self._out.print(f"SQLLLM {__version__}. A statement ends with `;`; help lists the rest.", highlight=False)
        while not self._entries.left:
            try:
                text = prompt.prompt()
            except KeyboardInterrupt:  # forgets what was typed
                continue
            except EOFError:
                return
            self._entries.run(text)
            self._names.forget()

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter")
        def _(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if buffer.complete_state:
                buffer.complete_state = None
            elif is_line(buffer.text) or self._language.state(buffer.text + "\n")[0] != "incomplete":
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
