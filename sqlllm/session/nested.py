"""Scripts that a script runs: macros, includes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect import parse
from sqlllm.errors import ParseError, ScriptErrors, SQLLLMError

if TYPE_CHECKING:
    from sqlllm.places import Place

    from .session import Session
    from .tables import Result


def run_script(session: Session, text: str, name: str, called_at: Place) -> Result | None:
    """Run `text`, called `name` in errors, and return its last table; ParseError if it is running already."""
    if name in session.running:
        chain = [*session.running[session.running.index(name) :], name]
        raise ParseError(f"{name} runs itself: {' -> '.join(chain)}", place=called_at)
    session.running.append(name)
    try:
        script = parse(text, name)
        if script.errors:
            raise ScriptErrors.of(script.errors)
        return session.run_all(script.statements)
    except SQLLLMError as error:
        error.add_note(f"  in {name}, run at {called_at}")
        raise
    finally:
        session.running.pop()
