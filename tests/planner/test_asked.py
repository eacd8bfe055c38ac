"""What a select would ask, as queries that call no model."""

from __future__ import annotations

import pytest

from sqlllm import planner


def asked(sql: str) -> list[planner.Asked]:
    found = planner.asked(planner.rewrite(sql, {"up"}, lambda _: ["id", "p", "q", "c"]).text, {"up"})
    assert all("up(" not in one.query for one in found)
    return found


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select id, up(p) as a from t", [("p", False)]),
        ("select up(p), up(q), up(p) from t", [("p", False), ("q", False)]),
        ("select up(p) from t where up(q) = 'x' and id > 3", [("q", False), ("p", True)]),
        ("select up(up(p)) from t", [("p", False), ("up(p)", True)]),
        ("select case when c then up(p) end as a from t", [("CASE WHEN c THEN p END", False)]),
        ("select if(up(p) = 'a', up(q), null) from t", [("p", False), ("CASE WHEN up(p) = 'a' THEN q END", True)]),
        ("with s as (select id, up(p) as a from t) select x.a from s x join s y on x.id = y.id + 1", [("p", False)]),
        ("select 1 as a from t", []),
    ],
)  # fmt: skip
def test_the_calls_of_a_select(sql: str, expected: list[tuple[str, bool]]) -> None:
    assert [(one.request, one.at_most) for one in asked(sql)] == expected


def test_rows_that_a_limit_leaves_out_are_not_asked() -> None:
    (only,) = asked("select id, up(p) as a from t order by id limit 5")
    assert "LIMIT 5" in only.query


def test_a_limit_that_answers_fill_may_take_every_row() -> None:
    (only,) = asked("select id from t where up(p) = 'x' and c limit 5")
    assert only.at_most
    assert only.query == "SELECT p AS request FROM t WHERE c"


def test_a_condition_on_an_answer_counts_as_true() -> None:
    _, second = asked("select up(p) from t where up(q) = 'x' and id > 3")
    assert "id > 3" in second.query
    assert "'x'" not in second.query


def test_what_cannot_be_looked_at_alone_says_so() -> None:
    with pytest.raises(planner.NotUnderstood):
        planner.asked("select up(max(p)) from t group by id", {"up"})
    with pytest.raises(planner.NotUnderstood):
        planner.asked("not sql", {"up"})


def test_the_first_rows_of_a_select() -> None:
    assert planner.first("select a from t order by a", 5) == "SELECT a FROM t ORDER BY a LIMIT 5"
    assert planner.first("select a from t union all select b from s", 5) is not None
    assert planner.first("select a from t limit 3", 5) is None
    assert planner.first("not sql", 5) is None


def test_a_limit_without_an_order_may_be_full_early() -> None:
    assert planner.limit("select a from t where up(a) = 'x' limit 5") == 5
    assert planner.limit("select * from (select up(a) as a from t limit 7) limit 20") == 7
    assert planner.limit("select a from t limit 2 + 3") == 0
    assert planner.limit("select a from t order by a limit 5") == 0
    assert planner.limit("select a from t") == planner.limit("not sql") == 0
