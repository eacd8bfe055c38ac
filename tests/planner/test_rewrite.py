"""Rewritten texts, without Spark."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest

from sqlllm import planner
from sqlllm.session import planning

from .cases import rewrites


def columns(_: str) -> list[str]:
    return ["id", "p", "q", "r", "s", "n", "c", "d", "g"]


@pytest.mark.parametrize(("sql", "expected"), rewrites())
def test_a_select_becomes(sql: str, expected: str) -> None:
    assert planner.rewrite(sql, {"up"}, columns).text == expected


@pytest.mark.parametrize(("sql", "expected"), [pair for pair in rewrites() if pair[0] != pair[1]])
def test_what_it_becomes_stays(sql: str, expected: str) -> None:
    assert planner.rewrite(expected, {"up"}, columns).text == expected


def test_a_reused_alias_needs_the_columns() -> None:
    sql = "select up(p) as a, llm_result(a) as b from t"
    assert planner.rewrite(sql, {"up"}).text == sql
    assert planner.rewrite(sql, {"up"}, lambda _: ["p"]).text != sql
    # There is a column `a`, so that is what `a` is: its answer is not the model's.
    assert "llm_result(a)" in planner.rewrite(sql, {"up"}, lambda _: ["p", "A"]).text


def test_what_sqlglot_cannot_write_has_no_normal_form() -> None:
    assert planner.normal("select to_char(id, '999') from t") is None
    assert planner.normal("not sql") is None
    assert planner.normal("select a from t") == "SELECT a FROM t"


def test_the_example_in_the_documentation() -> None:
    page = Path(__file__).parents[2] / "docs/sql/planner.md"
    before, after = re.findall(r"^```\n(.*?)\n^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    assert planner.rewrite(before, {"up"}, columns).text == after


@pytest.mark.parametrize("sql", [before for before, after in rewrites() if before == after])
def test_what_stays_has_a_reason(sql: str) -> None:
    found = planner.rewrite(sql, {"up"}, columns)
    assert bool(found.reason) == (not sql.startswith("select id, llm_result") and "up(p, q)" not in sql)


def test_what_is_planned_has_no_reason() -> None:
    assert planner.rewrite("select up(p) as a from t", {"up"}).reason == ""


@pytest.mark.parametrize(
    ("sql", "once", "reason"),
    [
        ("select f(p) as i, up(concat(i, q)) as a from t", True, ""),
        ("select f(p) as i, i as j, up(i) as a from t order by id limit 3", True, ""),
        ("select x.id, f(y.q) as i, up(concat(i, x.p)) as a from t x join t y on x.id = y.id", True, ""),
        ("select uuid() as i, up(concat(i, q)) as a from t", False, ""),
        ("select i, up(i) as b from (select f(p) as i, up(p) as a from t) where a > 'x'", True, ""),
        ("select case when f(p) = 1 then up(q) end as a from t", True, "decides whether a model is called"),
        ("select up(f(p)) as a, upper(up(f(p))) as b from t", False, "stands twice"),
        ("select f(p) as k, count(up(q)) as c from t group by f(p)", False, "stands in GROUP BY"),
    ],
)
def test_what_may_be_another_value_each_time_is_computed_once(sql: str, once: bool, reason: str) -> None:
    found = planner.rewrite(sql, {"up"}, columns, {"f"})
    assert found.text.count("f(p)") + found.text.count("f(__llm") + found.text.lower().count("uuid()") == (
        1 if once or "uuid" in sql else 2
    )
    assert reason in found.reason
    assert bool(found.reason) == bool(reason)


def test_a_condition_of_a_volatile_function_stays_with_its_reader() -> None:
    sql = """with c as (select *, up(p) as a from t)
        select x.a, y.a from c x join c y on x.id = y.id where f(x.g) and f(y.g)"""
    assert "FROM t WHERE f(g)" not in planner.rewrite(sql, {"up"}, columns, {"f"}).text
    assert "FROM t WHERE f(g)" in planner.rewrite(sql, {"up"}, columns).text


def _nested(levels: int) -> str:
    below = "t"
    for level in range(levels):
        below = f"""(select id,
            case when p = 'x' then up(p) when q = 'y' then up(q) else coalesce(p, up(concat(p, q))) end as p,
            coalesce(up(q), case when p is null then up(p) else q end) as q from {below}) as x{level}"""
    return f"select p, q from {below}"


@pytest.mark.parametrize(
    "sql",
    [
        _nested(5),
        _nested(10),
        "select " + ", ".join(f"up(concat(p, '{number}')) as a{number}" for number in range(80)) + " from t",
        "select p as a0" + "".join(f", concat(a{n}, a{n}) as a{n + 1}" for n in range(40)) + ", up(a40) as z from t",
        "select " + "coalesce(" * 150 + "up(p)" + ", q)" * 150 + " as a from t",
        "select " + "up(" * 60 + "p" + ")" * 60 + " as a from t",
        "select up(p) as a from t where " + " or ".join(f"up(concat(q, {n})) = 'x'" for n in range(50)),
    ],
    ids=["five levels", "ten levels", "eighty calls", "doubled aliases", "coalesce", "turns", "conditions"],
)
def test_a_deep_or_long_select_stays_in_bounds(sql: str) -> None:
    found = planner.rewrite(sql, {"up"}, columns)
    assert found.reason
    assert len(found.text) < 20 * len(sql) + 20_000
    with contextlib.suppress(planner.NotUnderstood):
        planner.asked(found.text, {"up"})


PLAN = "Sort [k#38]\n+- UnionLoop 0\n   :- Project [1 AS 1#33]\n   +- UnionLoopRef 0, [1#33], false"


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("#33", "#71", True),
        ("0", "7", True),
        ("[1 AS", "[2 AS", False),
        ("[k#38]", "[k#33]", False),
        ("Ref 0", "Ref 1", False),
    ],
)
def test_plans_with_a_loop_are_compared_but_for_their_ids(old: str, new: str, same: bool) -> None:
    assert planning._same_loop(PLAN.replace(old, new), PLAN) is same


def test_a_plan_that_hides_its_values_is_not_compared() -> None:
    plan = PLAN.replace("Project", "LocalRelation")
    assert not planning._same_loop(plan, plan)


def test_a_column_that_is_named_like_a_value_is_quoted() -> None:
    sql = "select up(to_json(struct(*))) as a from t order by all limit 2"
    text = planner.rewrite(sql, {"up"}, lambda _: ["id", "null", "user"]).text
    assert "STRUCT(id AS id, `null` AS `null`, `user` AS `user`)" in text
    text = planner.rewrite("select *, up(id) as a from t order by all limit 2", {"up"}, lambda _: ["id", "true"]).text
    assert "`true` AS __llm_" in text
