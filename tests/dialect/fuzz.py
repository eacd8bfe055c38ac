"""No text may make the dialect raise or hang. Longer than the tests do it: `python -m tests.dialect.fuzz -runs=1000000`
(needs `pip install atheris`; the options are libFuzzer's)."""

from __future__ import annotations

import sys

from sqlllm.dialect import Cell, Explain, If, Reference, Select, Sql, Statement, format_script, parse
from sqlllm.errors import ScriptError

ATOMS = [
    "load", "save", "select", "set", "run", "connect", "register", "include", "insert", "with", "as", "into", "where",
    "options", "and", "partitionBy", "append", "!", "!sh", "!if", "!elif", "!else", "!fi", "!then", "''':a>1'''",
    "''' select 1 as :x; :x '''", ";", ";\n", "\n", " ", "  ", "(", ")", "t", "csv", ".", "`a`", "``", "`", "'", '"',
    "'''", '"""', "'x'", '"y"', "'''z'''", "'a;\nb'", "r'x${y}'", "--", "--c\n", "/*", "*/", "/*c*/", "/*+ h */",
    "${x}", "${x:d}", "${", "}", "\\${", "\\", "{0}", "=", ",", "$", "#", "%", "--%python\n", "#%chat\n", "--%sql\n",
    "--%a=b\n", "\n--%", "1", "2.5", ":a", "\t", "\r\n", "é", "中文",
]  # fmt: skip


class _Nasty:
    def lookup(self, reference: Reference, *, in_select: bool = False) -> str:
        return "v'\"`\\;"


def survive(text: str) -> None:
    """Parse `text` and do with the result what a session, an editor and the formatter do."""
    script = parse(text)
    for error in script.errors:
        assert isinstance(error, ScriptError)
        assert error.place is not None
        assert 0 <= error.place.start <= len(text)
        str(error)
    for statement in script.statements:
        _use(statement)
    if not script.errors:
        formatted = format_script(text)
        again = parse(formatted)
        assert not again.errors, formatted
        assert again.statements == script.statements, formatted
        assert format_script(formatted) == formatted, formatted


def _use(statement: Statement) -> None:
    assert statement.place.text or isinstance(statement, Cell)
    if isinstance(statement, Explain):
        _use(statement.select)
    elif isinstance(statement, Select | Sql):
        try:
            rendered = statement.sql.render(_Nasty())
        except ScriptError:  # of a directive
            return
        for offset in range(0, len(rendered.text) + 2, 5):
            place = rendered.place_at(offset, offset + 2)
            assert statement.place.start <= place.start <= place.end <= statement.place.end
    elif isinstance(statement, If):
        for inner in (*(inner for branch in statement.branches for inner in branch.statements), *statement.otherwise):
            _use(inner)


def main() -> None:
    import atheris  # type: ignore[import-not-found]

    def one(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        text = ""
        while provider.remaining_bytes():
            at = provider.ConsumeIntInRange(0, len(ATOMS))
            text += ATOMS[at] if at < len(ATOMS) else provider.ConsumeUnicodeNoSurrogates(4)
        survive(text)

    atheris.instrument_all()
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
