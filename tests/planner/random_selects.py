"""Random selects in Spark SQL that call models.

Names are few, so that aliases hide columns, CTEs hide tables and columns of several tables have one name. Rows are
the same each time: whatever ORDER BY leaves open, LIMIT does not depend on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

MODELS = ("up", "lo", "gpt-4o")
TABLES: dict[str, dict[str, str]] = {
    "t": {"id": "int", "g": "int", "p": "str", "q": "str", "n": "str"},
    "s": {"id": "int", "k": "int", "p": "str"},
    "r": {"id": "int", "g": "int", "h": "int", "q": "str"},
}
"""Table: column: type. `id` is unique in each."""

_ALIASES = ("x", "y", "z", "t", "s", "c", "r")
_NAMES = ("a", "b", "d", "id", "g", "p", "q", "h")
_CTES = ("c", "d", "t", "s", "e")

Columns = dict[str, str]


@dataclass(frozen=True)
class Source:
    """Something in a FROM: what it is called there, and its columns."""

    alias: str
    columns: Columns


@dataclass(frozen=True)
class Scope:
    """What the names of a select mean, those of the select around it last."""

    sources: tuple[Source, ...]
    outer: Scope | None = None

    def columns(self, kind: str) -> list[tuple[str, str]]:
        return [
            (source.alias, name) for source in self.sources for name, type_ in source.columns.items() if type_ == kind
        ]


class Selects:
    """Random selects from a seed."""

    def __init__(self, seed: int | str) -> None:
        self.random = Random(seed)
        self.ctes: list[dict[str, Columns]] = []
        self.calls = 0

    def statement(self) -> str:
        """One select; most call a model."""
        while True:
            self.calls, self.ctes = 0, []
            sql, _ = self.query(depth=self.random.choice((0, 1, 1, 1, 1, 2)), top=True)
            if self.calls and len(sql) < 400:
                return sql

    # Small choices.

    def one(self, *makers: str | Callable[[], str]) -> str:
        """What a random one of `makers` makes; the others make nothing."""
        maker = self.random.choice(makers)
        return maker if isinstance(maker, str) else maker()

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def names(self, count: int) -> list[str]:
        return self.random.sample(_NAMES, count)

    # Queries.

    def query(
        self, depth: int, *, top: bool = False, kinds: list[str] | None = None, outer: Scope | None = None
    ) -> tuple[str, Columns]:
        """A select, a union or one of both with CTEs, and its columns."""
        with_ = ""
        frame: dict[str, Columns] = {}
        self.ctes.append(frame)
        if depth > 0 and self.chance(0.6 if top else 0.15):
            parts = []
            for name in self.random.sample(_CTES, self.random.choice((1, 1, 2, 3))):
                sql, columns = self.query(depth - 1)
                head = name
                if self.chance(0.3):
                    renamed = self.names(len(columns))
                    columns = dict(zip(renamed, columns.values(), strict=True))
                    head = f"{name}({', '.join(renamed)})"
                parts.append(f"{head} as ({sql})")
                frame[name] = columns
            with_ = f"with {', '.join(parts)} "
        if depth > 0 and self.chance(0.2):
            sql, columns = self.union(depth, kinds)
        else:
            sql, columns = self.select(depth, kinds=kinds, outer=outer)
        self.ctes.pop()
        return with_ + sql, columns

    def union(self, depth: int, kinds: list[str] | None) -> tuple[str, Columns]:
        """Arms that are alike, with calls at different depths, or any arms."""
        kinds = kinds or [self.random.choice(("str", "str", "int")) for _ in range(self.random.choice((1, 2, 3)))]
        names = self.names(len(kinds))
        arms = self.random.choice((2, 2, 3))
        operator = self.random.choice((" union all ", " union all ", " union ", " except ", " intersect "))
        if self.chance(0.6):
            shapes = [self.shape(kind) for kind in kinds]
            found = []
            for _ in range(arms):
                text, scope = self.sources(min(depth - 1, 1), joins=0.3)
                items = [self.filled(shape, scope) for shape in shapes]
                where = f" where {self.boolean(scope, 1, calls=self.chance(0.2))}" if self.chance(0.4) else ""
                found.append((items, f" from {text}{where}"))
            texts = [
                "select " + ", ".join(f"{item} as {name}" for item, name in zip(items, names, strict=True)) + rest
                for items, rest in found
            ]
        else:
            texts = [self.select(depth - 1, kinds=kinds, names=names, plain=True)[0] for _ in range(arms)]
        sql = operator.join(texts)
        if self.chance(0.4):
            keys = [str(number) for number in range(1, len(kinds) + 1)]
            self.random.shuffle(keys)
            sql += f" order by {', '.join(keys)}"
            if self.chance(0.5):
                sql += f" limit {self.random.randint(1, 6)}"
        return sql, dict(zip(names, kinds, strict=True))

    def shape(self, kind: str, depth: int = 2) -> str:
        """An expression with places for columns: `$str`, `$int`."""
        if kind == "int":
            return self.one("$int", "$int + 1", lambda: f"length({self.shape('str', depth - 1)})")
        if depth <= 0:
            return "$str"
        down = partial(self.shape, "str", depth - 1)
        call = lambda: f"{self.model()}({down() if self.chance(0.2) else '$str'})"  # noqa: E731
        return self.one(
            "$str", "cast($int as string)", call, call, call,
            lambda: f"concat({down()}, {down()})", lambda: f"upper({down()})", lambda: f"coalesce({down()}, 'none')",
        )  # fmt: skip

    def filled(self, shape: str, scope: Scope) -> str:
        while (at := shape.find("$")) >= 0:
            kind = shape[at + 1 : at + 4]
            shape = shape[:at] + self.column(scope, kind) + shape[at + 4 :]
        return shape

    def sources(self, depth: int, *, joins: float, outer: Scope | None = None) -> tuple[str, Scope]:
        """The text of a FROM and what its names mean."""
        aliases = list(_ALIASES)
        self.random.shuffle(aliases)
        text, first = self.source(depth, aliases)
        found = [first]
        while len(found) < 3 and self.chance(joins):
            more, source = self.source(depth, aliases)
            kind = self.random.choice(
                (
                    "join",
                    "join",
                    "left join",
                    "right join",
                    "full join",
                    "left semi join",
                    "left anti join",
                    "cross join",
                    ",",
                )
            )
            if kind == ",":
                if len(found) > 1 or "join" in text:
                    continue
                text += f", {more}"
                found.append(source)
                continue
            text += f" {kind} {more}"
            inner = Scope((*found, source))
            if kind != "cross join":
                left, right = (
                    self.column(Scope(tuple(found)), "int"),
                    self.column(Scope((source,)), "int", qualified=True),
                )
                on = f"{self.qualified(Scope(tuple(found)), 'int') or left} = {right}"
                if self.chance(0.3):
                    # Spark takes no model in the condition of an outer join; the planner's cases have it.
                    calls = kind == "join" and self.chance(0.6)
                    on += f" and {self.boolean(inner, 1, calls=calls, queries=False)}"
                text += f" on {on}"
            if kind not in {"left semi join", "left anti join"}:
                found.append(source)
            joins *= 0.6
        return text, Scope(tuple(found), outer)

    def source(self, depth: int, aliases: list[str]) -> tuple[str, Source]:
        alias = aliases.pop()
        visible = {name: columns for frame in self.ctes for name, columns in frame.items()}
        if depth > 0 and self.chance(0.4):
            sql, columns = self.query(depth - 1)
            text = f"({sql})"
        else:
            known = {**TABLES, **visible}
            name = self.random.choice([*known, *visible, *visible])
            text, columns = name, known[name]
            if self.chance(0.25) and name not in _ALIASES:
                return text, Source(name, columns)
            if self.chance(0.25) and name in aliases:
                aliases.remove(name)
                aliases.append(alias)
                return text, Source(name, columns)
        if self.chance(0.15):
            renamed = self.names(len(columns))
            return f"{text} as {alias}({', '.join(renamed)})", Source(
                alias, dict(zip(renamed, columns.values(), strict=True))
            )
        return f"{text} as {alias}", Source(alias, columns)

    def select(
        self,
        depth: int,
        *,
        kinds: list[str] | None = None,
        names: list[str] | None = None,
        plain: bool = False,
        outer: Scope | None = None,
    ) -> tuple[str, Columns]:
        text, scope = self.sources(depth, joins=0.35, outer=outer)
        kinds_ = kinds or [
            self.random.choice(("str", "str", "str", "int", "bool")) for _ in range(self.random.choice((1, 2, 2, 3)))
        ]
        names = names or self.names(len(kinds_))
        where = f" where {self.condition(scope, depth)}" if self.chance(0.45) else ""
        if self.chance(0.2):
            return self.grouped(text, scope, where, kinds_, names, plain=plain)
        window = (
            " window w as (partition by " + self.column(scope, "int") + " order by " + self.column(scope, "int") + ")"
        )
        named = self.chance(0.05)
        items, columns, lateral = list[str](), dict[str, str](), dict[str, str]()
        if kinds is None and self.chance(0.15):
            star, columns = self.star(scope)
            items.append(star)
        for kind, name in zip(kinds_, names, strict=True):
            if name in columns:
                continue
            if kind == "int" and self.chance(0.25):
                value = self.window(scope, named=named)
            else:
                value = self.expression(kind, scope, depth, calls=True, lateral=lateral)
            items.append(f"{value} as {name}")
            columns[name] = kind
            if all(name not in source.columns for level in _levels(scope) for source in level.sources):
                lateral[name] = kind
        if not items:
            items, columns = [f"{self.column(scope, 'int')} as {names[0]}"], {names[0]: "int"}
        distinct = "distinct " if self.chance(0.12) else ""
        sql = f"select {distinct}{', '.join(items)} from {text}{where}"
        if named:
            sql += window
        if not distinct and self.chance(0.08):
            sql += f" qualify {self.window(scope, named=named)} <= {self.random.randint(1, 4)}"
        if not plain and self.chance(0.3):
            sql += self.order(
                scope,
                columns,
                stars=items[0].split(" as ")[0].endswith(")") is False and "*" in items[0],
                distinct=bool(distinct),
            )
        return sql, columns

    def order(self, scope: Scope, columns: Columns, *, stars: bool, distinct: bool) -> str:
        """ORDER BY whatever, then every column; LIMIT."""
        keys = []
        if not distinct and self.chance(0.5):
            hidden = set(columns)
            found = [
                f"{source.alias}.{name}" for source in scope.sources for name in source.columns if name not in hidden
            ]
            if found:
                keys.append(self.random.choice(found) + self.random.choice(("", " desc", " asc nulls last")))
        last = list(columns) if stars else [str(number) for number in range(1, len(columns) + 1)]
        self.random.shuffle(last)
        keys += [key + self.random.choice(("", " desc")) for key in last]
        limit = f" limit {self.random.randint(1, 7)}" if self.chance(0.6) else ""
        if limit and self.chance(0.2):
            limit += f" offset {self.random.randint(1, 3)}"
        return f" order by {', '.join(keys)}{limit}"

    def star(self, scope: Scope) -> tuple[str, Columns]:
        """A star whose columns have different names, or one of a single source."""
        if len(scope.sources) == 1:
            source = scope.sources[0]
            star = self.random.choice(("*", f"{source.alias}.*"))
        else:
            source = self.random.choice(scope.sources)
            star = f"{source.alias}.*"
        columns = dict(source.columns)
        if len(columns) > 1 and self.chance(0.3):
            dropped = self.random.choice(list(columns))
            star += f" except ({dropped})"
            del columns[dropped]
        return star, columns

    def grouped(
        self, text: str, scope: Scope, where: str, kinds: list[str], names: list[str], *, plain: bool
    ) -> tuple[str, Columns]:
        keys, items, columns, groups = [], [], dict(zip(names, kinds, strict=True)), []
        hidden = {name for source in scope.sources for name in source.columns}
        for number, (name, kind) in enumerate(columns.items(), 1):
            if number > 1 and self.chance(0.6):
                items.append(f"{self.aggregate(kind, scope)} as {name}")
                continue
            key = self.expression(kind, scope, 0, calls=self.chance(0.5))
            keys.append(key)
            items.append(f"{key} as {name}")
            groups.append(
                self.random.choice(
                    [str(number), key if not key.isdigit() else str(number), *([name] if name not in hidden else [])]
                )
            )
        if self.chance(0.3) and groups:
            more = self.column(scope, "int")
            if not more.isdigit():
                groups.append(more)
        sql = f"select {', '.join(items)} from {text}{where}"
        if self.chance(0.15) and len(groups) == len(keys):
            sql += " group by all"
        elif groups:
            sql += f" group by {', '.join(groups)}"
        if self.chance(0.4):
            sql += (
                f" having {self.aggregate('int', scope)} {self.random.choice(('>', '<='))} {self.random.randint(0, 3)}"
            )
        if not plain and self.chance(0.3):
            sql += self.order(Scope(()), columns, stars=False, distinct=False)
        return sql, columns

    def aggregate(self, kind: str, scope: Scope) -> str:
        """An aggregate, maybe of answers, or a call of an aggregate."""
        filter_ = f" filter (where {self.boolean(scope, 0, calls=False, queries=False)})" if self.chance(0.15) else ""
        if kind == "bool":
            return f"({self.aggregate('int', scope)} > 1)"
        if kind == "int":
            if self.chance(0.25):
                return f"count(*){filter_}"
            value = self.expression("str", scope, 1, calls=True)
            return self.one(f"count({value})", f"count(distinct {value})", f"max(length({value}))") + filter_
        if self.chance(0.3):
            return f"{self.model()}(max({self.column(scope, 'str')}){filter_})"
        return f"{self.random.choice(('max', 'min'))}({self.expression('str', scope, 1, calls=True)}){filter_}"

    def window(self, scope: Scope, *, named: bool) -> str:
        function = self.one(
            "rank()", "dense_rank()", "count(*)", lambda: f"count({self.expression('str', scope, 0, calls=True)})"
        )
        if named and self.chance(0.7):
            return f"{function} over w"
        key = self.expression(self.random.choice(("int", "str")), scope, 0, calls=self.chance(0.3))
        by = f"partition by {self.column(scope, 'int')} " if self.chance(0.6) else ""
        return f"{function} over ({by}order by {key})"

    # Expressions.

    def model(self) -> str:
        self.calls += 1
        name = self.random.choice(("up", "up", "lo", "gpt-4o"))
        return f"`{name}`" if "-" in name else name

    def column(self, scope: Scope, kind: str, *, qualified: bool = False) -> str:
        """A column of that type, or a literal if there is none."""
        found = scope.columns(kind)
        if not found:
            return {"int": "7", "str": "'w'", "bool": "true"}[kind]
        alias, name = self.random.choice(found)
        once = sum(name in source.columns for source in scope.sources) == 1
        return name if once and not qualified and self.chance(0.6) else f"{alias}.{name}"

    def qualified(self, scope: Scope, kind: str) -> str:
        found = scope.columns(kind)
        return "{}.{}".format(*self.random.choice(found)) if found else ""

    def expression(self, kind: str, scope: Scope, depth: int, calls: bool, lateral: Columns | None = None) -> str:
        if kind == "bool":
            return self.boolean(scope, min(depth, 1), calls=calls)
        if lateral and self.chance(0.35):
            found = [name for name, type_ in lateral.items() if type_ == kind]
            if found:
                name = self.random.choice(found)
                if kind == "str" and calls and self.chance(0.5):
                    return f"{self.model()}({name})"
                return name
        if scope.outer is not None and self.chance(0.3):
            return self.qualified_outer(scope.outer, kind)
        down = partial(self.expression, scope=scope, depth=depth - 1, calls=calls, lateral=lateral)
        when = partial(self.boolean, scope, 0, calls=calls)
        if calls and kind == "str" and self.chance(0.4):
            return f"{self.model()}({down('str') if depth > 0 else self.column(scope, 'str')})"
        if depth <= 0 or self.chance(0.4):
            return self.column(scope, kind)
        if kind == "int":
            return self.one(
                lambda: f"length({down('str')})",
                lambda: f"{self.column(scope, 'int')} + 1",
                lambda: f"if({when()}, {down('int')}, 3)",
                lambda: f"coalesce({down('int')}, 0)",
            )
        return self.one(
            lambda: f"concat({down('str')}, {down('str')})",
            lambda: f"coalesce({down('str')}, {down('str')})",
            lambda: f"if({when()}, {down('str')}, {down('str')})",
            lambda: f"case when {when()} then {down('str')} when {when()} then {down('str')} else {down('str')} end",
            lambda: f"case {self.column(scope, 'int')} when 1 then {down('str')} when 2 then {down('str')} end",
            lambda: f"upper({down('str')})",
            lambda: f"nullif({down('str')}, 'p1')",
            lambda: f"nvl2({down('str')}, {down('str')}, {down('str')})",
            lambda: f"cast({down('int')} as string)",
            *([lambda: self.scalar(scope)] if depth > 1 else []),
        )

    def qualified_outer(self, scope: Scope, kind: str) -> str:
        return self.qualified(scope, kind) or self.column(Scope(()), kind)

    def scalar(self, scope: Scope) -> str:
        text, inner = self.sources(0, joins=0)
        value = self.expression("str", inner, 1, calls=self.chance(0.4))
        return f"(select max({value}) from {text} where {self.correlated(scope, inner)})"

    def correlated(self, scope: Scope, inner: Scope) -> str:
        taken = {source.alias for source in inner.sources}
        outer = Scope(tuple(source for source in scope.sources if source.alias not in taken))
        left = self.qualified(inner, "int") or "1"
        return f"{left} = {self.qualified(outer, 'int') or '1'}"

    def condition(self, scope: Scope, depth: int) -> str:
        parts = [self.boolean(scope, 1, calls=self.chance(0.4)) for _ in range(self.random.choice((1, 1, 2, 3)))]
        if depth > 0 and self.chance(0.25):
            text, inner = self.sources(0, joins=0.2)
            more = f" and {self.boolean(inner, 1, calls=self.chance(0.3))}" if self.chance(0.5) else ""
            rest = f"from {text} where {self.correlated(scope, inner)}{more}"
            if self.chance(0.6):
                parts.append(f"{self.random.choice(('', 'not '))}exists (select 1 {rest})")
            else:
                parts.append(f"{self.column(scope, 'int')} in (select {self.column(inner, 'int')} {rest})")
        self.random.shuffle(parts)
        return " and ".join(parts)

    def boolean(self, scope: Scope, depth: int, *, calls: bool, queries: bool = True) -> str:
        one = self.random.random()
        if depth > 0 and one < 0.3:
            left, right = (self.boolean(scope, depth - 1, calls=calls) for _ in range(2))
            return f"({left} {self.random.choice(('and', 'or'))} {right})"
        if depth > 0 and one < 0.35:
            return f"not {self.boolean(scope, 0, calls=calls)}"
        if one < 0.55:
            return (
                f"{self.column(scope, 'int')} {self.random.choice(('<', '>', '=', '<>'))} {self.random.randint(0, 6)}"
            )
        value = self.expression("str", scope, depth, calls=calls)
        tests = ("is null", "is not null", "> 'Up2'", "like '%1'", "in ('p1', 'Up1', 'q2')")
        return f"{value} {self.random.choice(tests)}"


def _levels(scope: Scope | None) -> list[Scope]:
    found = []
    while scope is not None:
        found.append(scope)
        scope = scope.outer
    return found
