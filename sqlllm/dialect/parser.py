"""Tokens to statements: recursive descent, one small function per statement, every error of a script in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from ..errors import ParseError, ScriptError, nearest
from ..places import Source
from .cells import parse_cell
from .clauses import CLAUSE_WORDS, STRINGS, Cursor
from .nesting import Nesting
from .sql import SqlText
from .statements import (
    Connect,
    Explain,
    Include,
    Load,
    Macro,
    Register,
    Run,
    Save,
    Select,
    Set,
    Sql,
    Statement,
    Unregister,
)
from .text import Text
from .tokens import Kind, Tokenizer

QUERIES = frozenset({"select", "with", "from", "table", "values", "("})
"""What a query begins with: `from t |> where a > 1`, `table t` and `values (1), (2)` are Spark's."""

SAVE_MODES = {mode.lower(): mode for mode in ("overwrite", "append", "errorIfExists", "ignore")}


@dataclass(frozen=True)
class Script:
    """A parsed script: run it when `errors` is empty."""

    source: Source
    statements: tuple[Statement, ...]
    errors: tuple[ScriptError, ...] = field(repr=False)

    @cached_property
    def warnings(self) -> tuple[ParseError, ...]:
        """What looks wrong in the SQL of selects. Spark has the last word: these stop no run."""
        from .checks import check  # sqlglot takes as long to import as a long script to parse

        return tuple(check(self.statements))


def parse(text: str, name: str = "<script>") -> Script:
    """Parse a script; what is wrong is in `errors`, in the order of the script. Never raises on any text."""
    source = Source(text, name)
    errors: list[ScriptError] = []
    tokenizer = Tokenizer(source)
    nesting = Nesting(errors)
    while tokens := tokenizer.statement():
        cursor = Cursor(source, tokens)
        while not cursor.at_end():
            start = cursor.index
            try:
                if statement := parse_statement(cursor):
                    nesting.add(statement)
            except ScriptError as error:
                cursor.errors.append(error)
                cursor.recover(start, _RESUME)
        # An unclosed string is reported where it opens; the errors that follow from it are not.
        if cursor.errors and not any(token.kind is Kind.UNCLOSED for token in tokens):
            errors += cursor.errors
    statements = nesting.close()
    errors += tokenizer.errors
    errors.sort(key=lambda error: error.place.start if error.place else 0)
    return Script(source, statements, tuple(errors))


def parse_statement(cursor: Cursor) -> Statement | None:
    """The statement at the cursor, up to and with its `;`; None for an empty one. Raises ScriptError."""
    token, start = cursor.peek(), cursor.index
    if token is None:
        cursor.index += 1  # a `;` on its own
        return None
    if token.kind is Kind.CELL:
        return parse_cell(cursor)
    parse_one = STATEMENTS.get(token.text.lower())
    if parse_one is None:
        raise _unknown(cursor)
    cursor.index += 1
    statement = parse_one(cursor, start)
    cursor.end(_BEFORE_END.get(type(statement), "`;`"), _RESUME)
    return statement


def _unknown(cursor: Cursor) -> ParseError:
    token = cursor.tokens[cursor.index]
    place = cursor.source.place(token.start, token.end)
    if token.kind is not Kind.WORD:
        return ParseError(f"expected a statement, found `{token.text[:40]}`", place=place)
    near = nearest(token.text, [keyword for keyword in STATEMENTS if keyword.isalpha()])
    cure = f"Did you mean {near}?" if near else _CURES.get(token.text.lower(), _OPENINGS)
    return ParseError(f"unknown statement {token.text}", cure=cure, place=place)


def _load(cursor: Cursor, start: int) -> Load:
    of, path = _format_and_path(cursor)
    options = cursor.options()
    cursor.expect("as", then=" and a table name")
    table = cursor.name("a table name")
    return Load(place=cursor.place(start), format=of, path=path, options=options, table=table)


def _save(cursor: Cursor, start: int) -> Save:
    modes = []
    while mode := cursor.accept(*SAVE_MODES):
        modes.append(SAVE_MODES[mode])
    if len(set(modes)) > 1:
        raise ParseError(f"save has two modes, {' and '.join(modes)}", cure="Keep one.", place=cursor.place(start))
    table = cursor.name("a table name")
    if cursor.word() != "as" and (near := nearest(table.raw, SAVE_MODES.values())):
        raise ParseError(f"unknown save mode {table.raw}", cure=f"Did you mean {near}?", place=table.place)
    cursor.expect("as", then=" and a format")
    of, path = _format_and_path(cursor)
    options = cursor.options()
    columns = []
    if cursor.accept("partitionby"):
        columns.append(cursor.name("a column name"))
        while cursor.at(","):
            cursor.index += 1
            columns.append(cursor.name("a column name"))
    return Save(
        place=cursor.place(start),
        mode=modes[0] if modes else "errorIfExists",
        table=table,
        format=of,
        path=path,
        options=options,
        partition_by=tuple(columns),
    )


def _select(cursor: Cursor, start: int) -> Select:
    """`as name` at the very end names the result, even where SQL alone would read a column's alias."""
    end = cursor.index
    while end < len(cursor.tokens) and cursor.tokens[end].kind is not Kind.END:
        end += 1
    first = end - 1  # of the last tokens that touch each other; a comma is in no name
    while (
        first > start + 1
        and cursor.tokens[first - 1].end == cursor.tokens[first].start
        and "," not in (cursor.tokens[first - 1].text, cursor.tokens[first].text)
    ):
        first -= 1
    before = cursor.tokens[first - 1]
    table = None
    if first > start + 1 and before.text.lower() == "as" and not _closes_bracket(cursor, first, end):
        cursor.index = first
        table = cursor.name("a table name")
        if cursor.index < end:
            raise cursor.unexpected("`;` after the table's name")
        sql_end = first - 1
    else:
        sql_end = end
    cursor.index = end
    return Select(place=cursor.place(start), sql=_sql_text(cursor, start, sql_end), table=table)


def _explain(cursor: Cursor, start: int) -> Explain | Sql:
    if cursor.word() != "llm":
        return _spark_sql(cursor, start)
    cursor.index += 1
    first = cursor.index
    if (token := cursor.peek()) is None or token.text.lower() not in QUERIES:
        raise cursor.unexpected("a select after `explain llm`")
    cursor.index += 1
    select = _select(cursor, first)
    return Explain(place=cursor.place(start), select=select)


def _closes_bracket(cursor: Cursor, start: int, end: int) -> bool:
    return any(token.text == ")" for token in cursor.tokens[start:end])


def _spark_sql(cursor: Cursor, start: int) -> Sql:
    while cursor.peek() is not None:
        cursor.index += 1
    keyword = cursor.tokens[start].text.lower()
    return Sql(place=cursor.place(start), keyword=keyword, sql=_sql_text(cursor, start, cursor.index))


def _set(cursor: Cursor, start: int) -> Set | Sql:
    if _is_sparks_set(cursor):
        return _spark_sql(cursor, start)
    key = cursor.path("a variable name")
    cursor.expect_symbol("=", f"`=` after {key}")
    token = cursor.peek()
    if token is None or cursor.word() in CLAUSE_WORDS:
        raise cursor.unexpected(f"a value for {key}")
    if token.kind in STRINGS:
        cursor.index += 1
        value = cursor.text(token)
    else:
        value = cursor.bare()
    return Set(key=key, value=value, options=cursor.options(), place=cursor.place(start))


def _is_sparks_set(cursor: Cursor) -> bool:
    """Whether `set` opens a statement of Spark's: `set var x = 1`, `set time zone ...`, `set;`, `set -v;`."""
    token, following = cursor.peek(), cursor.peek(1)
    if token is None:
        return True
    if cursor.word() in _SPARK_SETS:
        return following is not None and following.text not in ("=", ".")
    return token.text == "-" and following is not None and following.text.lower() == "v"


def _load_or_sql(cursor: Cursor, start: int) -> Load | Sql:
    following = cursor.peek(1)
    if cursor.word() == "data" and following is not None and following.text.lower() in ("inpath", "local"):
        return _spark_sql(cursor, start)  # Hive's: load data inpath '/a' into table t
    return _load(cursor, start)


def _connect(cursor: Cursor, start: int) -> Connect:
    of = cursor.name("a format")
    options = cursor.options()
    name = cursor.name("a name") if cursor.accept("as") else None
    return Connect(place=cursor.place(start), format=of, options=options, name=name)


def _run(cursor: Cursor, start: int) -> Run:
    table = cursor.name("a table name")
    into = cursor.expect("as", "into", then=" and a module") == "into"
    module, path = _module_and_path(cursor)
    options = cursor.options()
    output = cursor.name("a table name") if cursor.accept("as") else None
    options = options or cursor.options()  # Byzer's manual has them behind the output, too
    return Run(
        place=cursor.place(start),
        keyword=cursor.tokens[start].text.lower(),
        table=table,
        module=module,
        path=path,
        options=options,
        output=output,
        into=into,
    )


def _register(cursor: Cursor, start: int) -> Register:
    module, path = _format_and_path(cursor, "a module")
    cursor.expect("as", then=" and a function name")
    function = cursor.name("a function name")
    options = cursor.options()
    return Register(place=cursor.place(start), module=module, path=path, function=function, options=options)


def _unregister(cursor: Cursor, start: int) -> Unregister:
    module, path = _format_and_path(cursor, "a module")
    return Unregister(place=cursor.place(start), module=module, path=path)


def _include(cursor: Cursor, start: int) -> Include:
    of, path = _format_and_path(cursor)
    return Include(place=cursor.place(start), format=of, path=path, options=cursor.options())


def _macro(cursor: Cursor, start: int) -> Macro:
    token = cursor.peek()
    if token is None or token.kind is not Kind.WORD:
        raise cursor.unexpected("a command's name after `!`")
    cursor.index += 1
    args = []
    while (following := cursor.peek()) is not None:
        if following.kind is Kind.UNCLOSED:
            break
        if following.kind in STRINGS:
            cursor.index += 1
            is_script = following.kind is Kind.BLOCK and token.text.lower() == "sh"
            args.append(cursor.verbatim(following) if is_script else cursor.text(following))
        else:
            args.append(cursor.bare())
    return Macro(place=cursor.place(start), name=token.text, args=tuple(args))


def _format_and_path(cursor: Cursor, what: str = "a format") -> tuple[Text, Text]:
    of = cursor.name(what)
    cursor.expect_symbol(".", f"`.` and a path after {of}")
    return of, cursor.path("a path (quote it with backquotes)")


def _module_and_path(cursor: Cursor) -> tuple[Text, Text]:
    """A module with its path; most modules need none, and `run t as LLM where ...` is ``run t as LLM.`` where ...``."""
    module = cursor.name("a module")
    if cursor.at("."):
        cursor.index += 1
        return module, cursor.path("a path (quote it with backquotes)")
    if (token := cursor.peek()) is not None and token.text.lower() not in ("where", "options", "as"):
        raise cursor.unexpected(f"`where`, or `.` and a path, after {module}", ("where", "as"))
    end = cursor.tokens[cursor.index - 1].end
    return module, cursor.make("", cursor.source.place(end, end), end)


def _sql_text(cursor: Cursor, start: int, end: int) -> SqlText:
    place = cursor.place(start, end)
    sql = SqlText(place.text, place)
    sql.__dict__["tokens"] = tuple(cursor.tokens[start:end])  # as it would read them itself
    broken: list[ParseError] = []
    sql.check(broken)
    cursor.errors += broken
    return sql


STATEMENTS: dict[str, Callable[[Cursor, int], Statement]] = {
    "load": _load_or_sql,
    "save": _save,
    **dict.fromkeys(QUERIES, _select),
    "explain": _explain,
    "set": _set,
    "connect": _connect,
    "train": _run,
    "run": _run,
    "predict": _run,
    "register": _register,
    "unregister": _unregister,
    "include": _include,
    "!": _macro,
    **dict.fromkeys(
        (
            "insert", "create", "drop", "refresh", "alter", "add", "analyze", "cache", "call", "clear", "comment",
            "declare", "delete", "desc", "describe", "execute", "list", "merge", "msck", "repair", "replace", "reset",
            "show", "truncate", "uncache", "update", "use",
            "convert", "generate", "optimize", "reorg", "restore", "vacuum",  # Delta's
        ),
        _spark_sql,
    ),
}  # fmt: skip
_OPENINGS = (
    "A statement begins with load, save, select, set, run, connect, register, include, `!`, or a word of Spark's"
    " (create, insert, show ...)."
)
_CURES = {
    "begin": "Spark's compound statements are not supported: write !if ... !fi; and a --%python cell for loops.",
    "open": "Cursors are not supported: write a select, and a --%python cell for loops.",
    "grant": "Who may use what is set where the data is stored.",
    "revoke": "Who may use what is set where the data is stored.",
    "commit": "Each statement stands on its own: there are no transactions.",
    "rollback": "Each statement stands on its own: there are no transactions.",
}
# Statements that a line may open with after a missing `;`. The others also open lines inside SQL.
_RESUME = STATEMENTS.keys() - {
    *QUERIES - {"select"}, "add", "call", "clear", "comment", "convert", "delete", "generate", "list", "replace",
    "reset", "restore", "show", "update", "use",
}  # fmt: skip
_SPARK_SETS = ("catalog", "role", "time", "timezone", "var", "variable")
_BEFORE_END: dict[type[Statement], str] = {
    Load: "`;` after the table's name",
    Save: "an option, `partitionBy` or `;`",
    Run: "an option, `as` and a table name, or `;`",
    Set: "`where` or `;`",
    Connect: "an option, `as` and a name, or `;`",
}
