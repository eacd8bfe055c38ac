"""Every error a user can meet.

    SQLLLMError
    ├── ScriptError              the script is at fault
    │   ├── ScriptErrors         several at once, in `errors`
    │   ├── ParseError           not a statement of the dialect
    │   ├── OptionError          an option is unknown, missing or has a wrong value
    │   ├── VariableError        a `${variable}` is not set
    │   ├── TableError           a table or a path is missing, or Spark refused the query
    │   └── ForbiddenError       allowed only when a setting says so
    ├── ModelError               a model could not be loaded, is not deployed or did not answer
    │   ├── ProviderError        a gateway or a provider refused a request, or could not be reached
    │   ├── AnswerError          an answer is cut, refused, filtered or not of the asked type
    │   └── LimitError           a statement, a user or a call may use no more of it
    ├── TrainingError            a training run ended without a model
    ├── RunError                 there is no such run, or it is in no state for that
    └── SetupError               this machine lacks something: Java, a free port, a running service
        └── PackageError         a Python package is missing or broken

Each says what is wrong, where, and what to write instead:

    try:
        session.run(text)
    except SQLLLMError as error:
        print(error)             # message, place with a caret, cure
        error.place, error.cure  # the same as fields
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, Self

from .places import Place, mask_secrets


class SQLLLMError(Exception):
    """The root of the tree; `place` is where in the script, `cure` what to write or do instead."""

    def __init__(self, message: str, *, cure: str = "", place: Place | None = None) -> None:
        # All of it goes to `args`, so that the error survives pickling between processes.
        super().__init__(message, cure, place)
        self.message = message
        self.cure = cure
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.cure, self.place)

    def at(self, place: Place | None) -> Self:
        """The same error at `place`, unless it knows a place already."""
        if self.place is None:
            self.place = place
        return self

    def __str__(self) -> str:
        parts = [mask_secrets(self.message)]
        if self.place is not None:
            parts.append(f"  at {self.place}\n{self.place.quote()}")
        if self.cure:
            parts.append(mask_secrets(self.cure))
        return "\n".join([*parts, *self.notes])

    @property
    def notes(self) -> list[str]:
        """What `add_note` said: the scripts that this one was run from."""
        return getattr(self, "__notes__", [])

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for editors and HTTP."""
        place = self.place
        return {
            "error": type(self).__name__,
            "message": mask_secrets(self.message),
            "cure": mask_secrets(self.cure),
            "source": place.source.name if place else None,
            "line": place.line if place else None,
            "column": place.column if place else None,
            "end_line": place.source.position(place.end)[0] if place else None,
            "end_column": place.source.position(place.end)[1] if place else None,
        }


def _rebuild(
    kind: type[SQLLLMError], message: str, cure: str, place: Place | None, more: dict[str, Any] | None = None
) -> SQLLLMError:
    return kind(message, cure=cure, place=place, **(more or {}))


class ScriptError(SQLLLMError):
    """The script is at fault."""


class ScriptErrors(ScriptError):
    """Every error that a script has; the place and the cure are the first one's."""

    errors: tuple[ScriptError, ...] = ()

    @classmethod
    def of(cls, errors: Sequence[ScriptError]) -> ScriptError:
        """One error for all; the error itself if it is alone."""
        if len(errors) == 1:
            return errors[0]
        several = cls(f"the script has {len(errors)} errors", place=errors[0].place)
        several.errors = tuple(errors)
        return several

    def __reduce__(self) -> tuple[Any, ...]:
        return ScriptErrors.of, (self.errors,)

    def __str__(self) -> str:
        return "\n\n".join([self.message, *map(str, self.errors), *self.notes])


class ParseError(ScriptError):
    """The text is not a statement of the dialect."""


class OptionError(ScriptError):
    """An option is unknown, missing or has a wrong value; `key` names it, so that the place can be found."""

    def __init__(self, message: str, *, cure: str = "", place: Place | None = None, key: str = "") -> None:
        super().__init__(message, cure=cure, place=place)
        self.key = key

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.cure, self.place, {"key": self.key})


class VariableError(ScriptError):
    """A `${variable}` is not set."""


class TableError(ScriptError):
    """A table, a view or a path is missing, or Spark refused the query."""


class ForbiddenError(ScriptError):
    """Something dangerous that no setting allows."""


class ModelError(SQLLLMError):
    """A model could not be loaded, is not deployed or did not answer."""


class LimitError(ModelError):
    """A statement, a user or a call has reached a limit of calls, tokens, cost or time; what was answered is kept.

    `reply` is the answer so far of a call that used too many tools: its conversation and its usage.
    """

    def __init__(self, message: str, *, cure: str = "", place: Place | None = None, reply: Any = None) -> None:
        super().__init__(message, cure=cure, place=place)
        self.reply = reply

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.cure, self.place, {"reply": self.reply})


class ProviderError(ModelError):
    """A gateway or a provider refused a request, or could not be reached.

    `status` is HTTP's (0: there was no response), `code` the provider's, `retry_after` the seconds that it asked for.
    """

    def __init__(
        self,
        message: str,
        *,
        cure: str = "",
        place: Place | None = None,
        status: int = 0,
        code: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, cure=cure, place=place)
        self.status = status
        self.code = code
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        more = {"status": self.status, "code": self.code, "retry_after": self.retry_after}
        return _rebuild, (type(self), self.message, self.cure, self.place, more)


class AnswerError(ModelError):
    """An answer cannot be used.

    `kind` is `incomplete` (the stream broke off), `truncated` (the token limit), `refused`, `filtered` or `invalid`
    (not of the asked type); `reply` is what there is of the answer: its text, its usage, the conversation.
    """

    def __init__(
        self, message: str, *, cure: str = "", place: Place | None = None, kind: str = "invalid", reply: Any = None
    ) -> None:
        super().__init__(message, cure=cure, place=place)
        self.kind = kind
        self.reply = reply

    def __reduce__(self) -> tuple[Any, ...]:
        more = {"kind": self.kind, "reply": self.reply}
        return _rebuild, (type(self), self.message, self.cure, self.place, more)


class TrainingError(SQLLLMError):
    """A training run ended without a model."""


class RunError(SQLLLMError):
    """There is no such run, or it is in no state for what was asked."""


class SetupError(SQLLLMError):
    """This machine lacks something the statement needs."""


class PackageError(SetupError):
    """A Python package is missing or broken."""

    @classmethod
    def from_import_error(cls, error: ImportError, *, package: str, extra: str) -> PackageError:
        """Distinguish an absent package from a package that is installed but does not load."""
        root = (error.name or "").partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and root == package:
            return cls(f"{package} is not installed.", cure=f"Run: pip install 'sqlllm[{extra}]'")
        return cls(
            f"{package} is installed but does not load: {error}",
            cure=f"Run `sqlllm doctor`, or reinstall it: pip install --force-reinstall 'sqlllm[{extra}]'",
        )


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word closest to `word`, or None if none is close."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


_MANY = 40  # words: nobody reads such a list for one


def suggest(word: str, known: Sequence[str], *, what: str) -> str:
    """A cure for an unknown `word`: the nearest known one, then the allowed set unless that is long."""
    near = nearest(word, known)
    if near and len(known) > _MANY:
        return f"Did you mean {near}?"
    allowed = f"Known {what}: {', '.join(sorted(set(known)))}."
    return f"Did you mean {near}? {allowed}" if near else allowed
