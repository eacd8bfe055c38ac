"""The queries of the data files beside this one, and their tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

TABLES = """
select id, id % 2 as even, concat('p', id % 20) as p, concat('u', id) as u,
       case when id % 10 <> 3 then concat('n', id % 40) end as n,
       concat(if(id % 5 = 0, 'bad', 'b'), id % 15) as b, id % 3 as g
from range(0, 240, 1, 4) as t;
select 10 * id + 5 as id, id as k from range(12) as s;
"""
_ARGUMENT = r"\(((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)"


@dataclass(frozen=True)
class Case:
    """A query, the query that counts the calls it needs, and whether the order of its rows is known."""

    name: str
    least: str
    ordered: bool
    sql: str


def load() -> list[Case]:
    """The queries of queries.sql."""
    return [_case(block) for block in _text("queries.sql").split("\n\n") if block.startswith("-- name: ")]


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
    return Case(
        notes["name"], notes["least"], "ordered" in notes, expand(re.sub(r"^--.*\n", "", block, flags=re.MULTILINE))
    )


def expand(sql: str) -> str:
    """`sql` with ask() and request() written out."""
    sql = re.sub(r"\bask" + _ARGUMENT, r"llm_result(up(request(\1)))", sql)
    return re.sub(r"\brequest" + _ARGUMENT, r"llm_param(map('instruction', \1))", sql)
