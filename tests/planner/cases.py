"""The queries of the data files beside this one, and their tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

TABLES = """
select id, id % 2 as even, concat('p', id % 20) as p, concat('u', id) as u,
       case when id % 10 <> 3 then concat('n', id % 40) end as n,
       concat(if(id % 5 = 0, 'bad', 'b'), id % 15) as b, id % 3 as g
from range(0, 240, 1, 4) as t;
select 10 * id + 5 as id, id as k from range(12) as s;
"""


@dataclass(frozen=True)
class Case:
    """A query, the query that counts the calls it needs, and whether the order of its rows is known."""

    name: str
    least: str
    ordered: bool
    only_spark: bool
    written: str
    """As it stands in the file, with ask() and request()."""

    @property
    def sql(self) -> str:
        return expand(self.written)


def load(name: str = "queries.sql") -> list[Case]:
    """The queries of queries.sql or least.sql."""
    return [_case(block) for block in _text(name).split("\n\n") if block.startswith("-- name: ")]


def shapes() -> list[str]:
    """The queries of shapes.sql."""
    _, *queries = _text("shapes.sql").split("\n\n")
    return [expand(query).strip() for query in queries]


def rewrites() -> list[tuple[str, str]]:
    """The queries of rewrites.sql and what they become."""
    _, *blocks = _text("rewrites.sql").strip().split("\n\n")
    pairs = [block.partition("\n-- becomes\n") for block in blocks]
    return [(before, after or before) for before, _, after in pairs]


def once_wrong() -> list[str]:
    """The queries of wrong.sql."""
    return [query.strip() for query in _text("wrong.sql").split("\n\n") if not query.startswith("--")]


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text()


def _case(block: str) -> Case:
    notes = dict(re.findall(r"^-- (\w+):? ?(.*)$", block, re.MULTILINE))
    sql = re.sub(r"^--.*\n", "", block, flags=re.MULTILINE)
    return Case(notes["name"], notes["least"], "ordered" in notes, "spark" in notes, sql)


_SHORT = {
    "ask": "llm_result(up(llm_param(map('instruction', {}))))",
    "request": "llm_param(map('instruction', {}))",
}


def expand(sql: str, forms: Mapping[str, str] = MappingProxyType(_SHORT)) -> str:
    """`sql` with ask() and request() written out."""
    while found := re.search(rf"\b({'|'.join(forms)})\(", sql):
        end, open_ = found.end(), 1
        while open_:
            open_ += {"(": 1, ")": -1}.get(sql[end], 0)
            end += 1
        sql = sql[: found.start()] + forms[found[1]].format(sql[found.end() : end - 1]) + sql[end:]
    return sql
