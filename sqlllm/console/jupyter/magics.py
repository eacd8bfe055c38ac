"""`%load_ext sqlllm`: scripts in a notebook in Python, beside its variables and DataFrames.

    %%llm result
    select name, age from people where age > ${least} as grown;

`people` may be a DataFrame of the notebook, `least` one of its variables, and `result` becomes the table: a Result,
whose `frame` is Spark's DataFrame.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.display import publish_display_data

from sqlllm.errors import ScriptError, SQLLLMError, TableError
from sqlllm.session import Result, Session, queries
from sqlllm.settings import Settings

from ..interrupts import interruptible
from ..language import Language, SessionNames
from ..script import run_script
from .board import Board, failed
from .outlet import Bundle, bundles, traceback

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell
    from pyspark.sql import DataFrame, SparkSession

_TABLES = re.compile(r"\b(?:from|join|run|save(?:\s+(?:overwrite|append|ignore|errorIfExists))?)\s+`?(\w+)", re.I)
_VARIABLES = re.compile(r"\$\{\s*(\w+)")


class _Cell:
    """The outlet of a cell in Python."""

    def display(self, bundle: Bundle, *, id: str = "", update: bool = False) -> None:  # noqa: A002
        transient = {"display_id": id} if id else None
        publish_display_data(bundle, transient=transient, update=update)  # type: ignore[no-untyped-call]

    def stream(self, name: Literal["stdout", "stderr"], text: str) -> None:
        import sys

        (sys.stdout if name == "stdout" else sys.stderr).write(text)


@magics_class
class LlmMagics(Magics):
    """`%llm` for one line, `%%llm` for a cell, with the name of a variable for its table."""

    def __init__(self, shell: InteractiveShell, session: Session | None = None) -> None:
        super().__init__(shell)
        self._mine = shell.user_ns  # the notebook's variables
        self._board = Board(_Cell())
        self.session = session or Session(Settings.load())
        self.session.observer = self._board
        self.names = SessionNames(self.session)
        self.language = Language(self.names)

    @no_var_expand
    @line_cell_magic
    def llm(self, line: str, cell: str | None = None) -> Result | None:
        """Run a script. A cell shows its last table; of a line it is the value, unless it was shown as it came."""
        name, text = ("", line) if cell is None else (line.strip(), cell)
        shows = cell is not None and not name
        if name and not name.isidentifier():
            raise ScriptError(f"%%llm takes the name of a variable, not {name}", cure="Write the script below it.")
        self._board.begin(self.session)
        state = "stopped"
        try:
            with interruptible(self.session):
                self._share(text)
                result = run_script(self.session, text, "cell")
                if shows:
                    self._board.show(result)
                    self.session.tell_usage()  # of the table that was shown
            state = ""
        except SQLLLMError as error:
            state = failed(error)
            raise
        finally:
            self._board.end(state)
            self.names.forget()
        if name:
            self._mine[name] = result
        return None if cell is not None or self._board.streamed else result

    def _share(self, text: str) -> None:
        """DataFrames and plain variables of the notebook that `text` names become tables and variables."""
        for name in dict.fromkeys(_TABLES.findall(text)):
            value: Any = self._mine.get(name)
            if isinstance(value, Result):
                self.session.name_table(value.frame, name, None)
            elif type(value).__name__ == "DataFrame":
                is_pandas = type(value).__module__.startswith("pandas")
                frame = _sparks(name, value, self.session.spark) if is_pandas else value
                self.session.name_table(frame, name, None)
        for name in dict.fromkeys(_VARIABLES.findall(text)):
            if isinstance(self._mine.get(name), (str, int, float)):
                self.session.variables.set(name, str(self._mine[name]))


def _sparks(name: str, frame: Any, spark: SparkSession) -> DataFrame:
    """A DataFrame of pandas, called `name`, as Spark's."""
    try:
        with queries.errors_at(None):
            return spark.createDataFrame(frame)
    except Exception as error:  # noqa: BLE001 - of PySpark, pandas or PyArrow, as the columns have it
        why, cure = str(error).partition("\n")[0], f'Give each column one type: {name}["column"].astype("string") does.'
        raise TableError(f"the DataFrame {name} cannot become a table: {why}", cure=cure) from None


def load(shell: InteractiveShell, session: Session | None = None) -> None:
    """Add the magics, their completion, how a Result looks, and errors without a stack."""
    magics = LlmMagics(shell, session)
    shell.register_magics(magics)
    shell.user_ns.setdefault("session", magics.session)

    def look(result: Result, **_: Any) -> Bundle:
        shown = bundles(result)
        return shown[0] if shown else {"text/plain": "no columns"}

    if shell.display_formatter is not None:
        shell.display_formatter.mimebundle_formatter.for_type(Result, look)

    def show(_self: Any, kind: type[BaseException], error: Any, *_: Any, **__: Any) -> list[str]:
        lines = traceback(error)
        shell._showtraceback(kind, error, lines)
        return lines

    shell.set_custom_exc((SQLLLMError,), show)  # type: ignore[no-untyped-call]

    @context_matcher()  # type: ignore[untyped-decorator]
    def complete(context: CompletionContext) -> dict[str, Any]:
        text = context.full_text
        opening = re.match(r"%%llm[^\n]*\n|%llm ", text)
        if not opening:
            return {"completions": [], "suppress": False}
        lines = text.split("\n")
        cursor = sum(len(line) + 1 for line in lines[: context.cursor_line]) + context.cursor_position - opening.end()
        found = magics.language.complete(text[opening.end() :], cursor)
        start = found[0].start if found else cursor
        return {
            "completions": [SimpleCompletion(text=one.text, type=one.kind) for one in found],
            "suppress": True,
            "matched_fragment": text[opening.end() + start : opening.end() + cursor],
        }

    if shell.Completer is not None:
        shell.Completer.custom_matchers.append(complete)


def unload(shell: InteractiveShell) -> None:
    """End the session."""
    magics = shell.magics_manager.registry.get("LlmMagics")
    if isinstance(magics, LlmMagics):
        magics.session.close()
