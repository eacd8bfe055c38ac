"""The order of a prompt's fields."""

from __future__ import annotations

from sqlllm.planner import reorder
from sqlllm.planner.fields import field_order
from sqlllm.udfs.ordering import prefix_order

FILM = "a plot that is long enough to fill more than one block of a cache, and is told again with every review "


def test_what_repeats_goes_first() -> None:
    rows = [[f"review {n}", f"critic {n % 20}", FILM + str(n % 4)] for n in range(200)]
    assert field_order(rows)[0] == 2
    assert field_order([["a", "b"], ["c", "d"]]) == [0, 1], "nothing to gain, nothing changed"
    assert field_order([]) == []


def select(template: str) -> str:
    return f"select up(llm_prompt('{template}', array(r, f))) from t where id > 3"


def rows(_: str) -> list[tuple[str | None, ...]]:
    return [(f"review {n}" if n else None, FILM + str(n % 4)) for n in range(200)]


def test_the_lines_of_a_template_move_and_keep_their_values() -> None:
    asked: list[str] = []

    def seen(sql: str) -> list[tuple[str | None, ...]]:
        asked.append(sql)
        return rows(sql)

    found = reorder(select(r"Judge.\nReview: {}\nFilm: {:none}\nGood?"), {"up"}, seen)
    assert r"'Judge.\nFilm: {1:none}\nReview: {0}\nGood?'" in found
    assert "FROM t WHERE id > 3 LIMIT 5000" in asked[-1]


def test_what_cannot_move_stays() -> None:
    for sql in (
        select("Film: {1}, review: {0}"),
        select(r"Review: {}\nThe film follows.\nFilm: {}"),
        "select up(llm_prompt(template, array(r, f))) from t",
        r"select llm_prompt('{}\n{}', array(r, f)) from t",
        r"select up(llm_prompt('{}\n{}', array(uuid(), f))) from t",
    ):
        assert reorder(sql, {"up"}, rows) == sql


def test_conversations_are_sorted_by_what_the_model_reads() -> None:
    texts = [["s", "b"], ["s", "a"], ["r", "z"], ["s", "ab"]]
    conversations = [[{"role": "user", "content": text} for text in one] for one in texts]
    assert [texts[index] for index in prefix_order(conversations)] == sorted(texts)
