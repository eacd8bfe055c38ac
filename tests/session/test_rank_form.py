"""What ai_rank reads from a select: the question, what is ranked, and how many ranks are wanted. No Spark."""

from __future__ import annotations

import pytest
from sqlglot import exp

from sqlllm.session.operators.cut import Context, Cut, Unfit, parse, selects
from sqlllm.session.operators.groups import given
from sqlllm.session.operators.rank import Rank, _most, _question
from sqlllm.settings import LLMSettings

RANK = "ai_rank(llm_prompt('which is angrier: {text}')) over (partition by g)"


def cut(sql: str) -> tuple[Cut, exp.Select]:
    tree = parse(sql)
    assert tree is not None
    for select in selects(tree):
        for node in Rank().nodes(select, Context(LLMSettings())):
            return Rank().cut(node, select, Context(LLMSettings())), select
    raise AssertionError(sql)


@pytest.mark.parametrize(
    ("sql", "most"),
    [
        ("select {r} as r from t", None),
        ("select * from t qualify {r} <= 3", 3),
        ("select * from t qualify {r} < 3 and a > 1", 2),
        ("select * from t qualify 3 >= {r}", 3),
        ("select {r} as r from t qualify r = 1", 1),
        ("select {r} as r from t qualify r between 2 and 5", 5),
        ("select {r} as r from t qualify r <= 3 or a", None),
        ("select {r} as r from t qualify r >= 3", None),
        ("select {r} as r from t qualify r <= a", None),
        ("select * from (select *, {r} as r from t) where r <= 4 and r < 9", 4),
        ("select * from (select *, {r} as r from t) x where X.r <= 4", 4),
        ("select * from (select *, {r} as r from t) x lateral view explode(a) e as r where e.r <= 4", None),
        ("select {r} as r from t qualify t.r <= 4", None),
        ("select * from (select *, {r} as r from t) x join u on x.id = u.id where r <= 4", None),
        ("with x as (select *, {r} as r from t) select * from x where r <= 4", 4),
        ("with x as (select *, {r} as r from t) select * from x where r <= 4 union select * from x", None),
        ("select id, {r} as r from t order by r limit 6 offset 1", 7),
        ("select id, {r} as r from t order by r desc limit 6", None),
        ("select id, {r} as r from t order by id, r limit 6", None),
        ("select distinct {r} as r from t order by r limit 6", None),
    ],
)
def test_only_the_wanted_ranks_are_ordered(sql: str, most: int | None) -> None:
    taken, select = cut(sql.format(r=RANK))
    assert _most(taken.node, select) == most


@pytest.mark.parametrize(
    ("call", "criterion", "item"),
    [
        ("llm_prompt('which is angrier: {text}')", "which is angrier", "llm_prompt('{text}', nulls => 'skip')"),
        (
            "llm_prompt('which is angrier: {}', array(a))",
            "which is angrier",
            "llm_prompt('{}', ARRAY(a), nulls => 'skip')",
        ),
        (
            "llm_prompt('Who of {name}, {job} earns more?')",
            "Who of name, job earns more?",
            "llm_prompt('name: {name}; job: {job}')",
        ),
        ("concat(a, b), 'angry'", "angry", "CONCAT(a, b)"),
        ("content => a, criterion => 'angry'", "angry", "a"),
    ],
)
def test_the_question_and_what_is_ranked(call: str, criterion: str, item: str) -> None:
    tree = parse(f"select ai_rank({call}) over () from t")
    assert isinstance(tree, exp.Select)
    found, ranked = _question(given(tree.expressions[0].this))
    assert (found, ranked.sql("spark", normalize_functions=False)) == (criterion, item)


@pytest.mark.parametrize(
    ("call", "reason"),
    [("a", "needs a criterion"), ("llm_prompt(a)", "needs a criterion"), ("llm_prompt('all')", "shows no column")],
)
def test_a_question_is_needed(call: str, reason: str) -> None:
    with pytest.raises(Unfit, match=reason):
        cut(f"select ai_rank({call}) over () from t")
