"""What a script is made of: one frozen dataclass per kind of statement.

Two statements are equal when they mean the same: places, comments and spacing do not count. Everything a user writes
that may hold `${variables}` is a `Text` (or `SqlText`), filled in when the statement runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ..errors import OptionError
from ..places import Place
from .branches import Condition
from .sql import SqlText
from .text import Lookup, Text


@dataclass(frozen=True, slots=True)
class Option:
    """`key = "value"` of a `where` clause."""

    key: str
    value: Text
    key_place: Place = field(compare=False, repr=False)

    @property
    def key_text(self) -> Text:
        start = self.key_place.start + self.key_place.text.startswith("`")
        return Text.of(self.key, self.key_place, start=start)

    @property
    def value_place(self) -> Place:
        return self.value.place


class Options(Mapping[str, Option]):
    """The options of a `where` clause by key, in the order written. Of an option given twice the last one counts."""

    __slots__ = ("_by_key", "repeated")

    def __init__(self, options: Iterable[Option] = ()) -> None:
        self._by_key: dict[str, Option] = {}
        repeated = []
        for option in options:
            if option.key in self._by_key:
                repeated.append(self._by_key[option.key])
            self._by_key[option.key] = option
        self.repeated = tuple(repeated)
        """Those that do not count, because the same key comes again."""

    @property
    def warnings(self) -> list[OptionError]:
        """What to say of each option that is given again."""
        return [
            OptionError(
                f"option {one.key} is given twice; the last one counts",
                cure=f"Keep one; the last is in line {self._by_key[one.key].key_place.line}.",
                place=one.key_place,
                key=one.key,
            )
            for one in self.repeated
        ]

    def resolve(self, variables: Lookup) -> dict[str, str]:
        """Keys to values, variables filled in; raises VariableError."""
        return {option.key_text.resolve(variables): option.value.resolve(variables) for option in self._by_key.values()}

    def __getitem__(self, key: str) -> Option:
        return self._by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)

    def __hash__(self) -> int:
        return hash(tuple(self._by_key.items()))

    def __repr__(self) -> str:
        return f"Options({ {key: option.value.raw for key, option in self._by_key.items()} })"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement; `place` is the whole of it without its `;`."""

    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Statement):
    """load format.`path` where options as table;"""

    format: Text
    path: Text
    options: Options
    table: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Save(Statement):
    """save mode table as format.`path` where options partitionBy columns;"""

    mode: str  # overwrite, append, ignore or errorIfExists (the default)
    table: Text
    format: Text
    path: Text
    options: Options
    partition_by: tuple[Text, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Select(Statement):
    """select ... as table; `sql` is without the trailing `as table`, `table` is None when there is none."""

    sql: SqlText
    table: Text | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explain(Statement):
    """explain llm select ... as table; what `select` would ask of models. Any other `explain` is Spark's, a `Sql`."""

    select: Select


@dataclass(frozen=True, slots=True, kw_only=True)
class Sql(Statement):
    """insert, create, drop, refresh and the rest of Spark's statements: `keyword` is the first word, in lower case."""

    keyword: str
    sql: SqlText


@dataclass(frozen=True, slots=True, kw_only=True)
class Set(Statement):
    """set key = value where options;"""

    key: Text
    value: Text
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect(Statement):
    """connect format where options as name;"""

    format: Text
    options: Options
    name: Text | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Statement):
    """run table as Module.`path` where options as output; (also train and predict, also `into`)"""

    keyword: str  # run, train or predict
    table: Text
    module: Text
    path: Text
    options: Options
    output: Text | None
    into: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Register(Statement):
    """register Module.`path` as function where options;"""

    module: Text
    path: Text
    function: Text
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Unregister(Statement):
    """unregister Module.`path`;"""

    module: Text
    path: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Include(Statement):
    """include format.`path` where options;"""

    format: Text
    path: Text
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Macro(Statement):
    """!name argument ...;"""

    name: str
    args: tuple[Text, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """`!if` or `!elif`: a condition and what runs when it holds; `place` is the macro with the condition."""

    place: Place = field(compare=False, repr=False)
    condition: Condition
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class If(Statement):
    """!if '''condition'''; ... !elif '''condition'''; ... !else; ... !fi;"""

    branches: tuple[Branch, ...]
    otherwise: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell(Statement):
    """`--%kind`, `--%key=value` lines and a body up to the next cell header."""

    kind: str  # python, chat, string, visualize ... as in the header, in lower case
    params: Options
    body: Text
