"""Ranks from lists: those of SQL on an exact judge, few prompts, ties where a judge disagrees with itself."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import duckdb
import pytest

from sqlllm.session.operators import listwise
from sqlllm.session.operators.ranking import Listing, Ranked, ranked, ranks
from sqlllm.session.operators.steps import run, together

from .judges import Answer, FirstShown, Judge


def number(text: str) -> float:
    return float(text.split()[-1])


def listing(**options: object) -> Listing:
    return Listing("which is more?", lambda text: len(text) // 4 + 1, **{"context": 8192, **options})  # type: ignore[arg-type]


def distinct(rows: Sequence[str]) -> tuple[list[str], list[int]]:
    counts = Counter(rows)
    return list(counts), list(counts.values())


# --- Answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("[2, 1, 3]", {1: 0, 0: 1, 2: 2}),
        ("[2, [1, 3]]", {1: 0, 0: 1, 2: 1}),
        ('["2", "1", "3"]', {1: 0, 0: 1, 2: 2}),
        ("Here you go: [1]\n```json\n[3, 2, 1]\n```", {2: 0, 1: 1, 0: 2}),
        ("[2] > [1] = [3]", {1: 0, 0: 1, 2: 1}),
        ("2 > 3 > 1", {1: 0, 2: 1, 0: 2}),
        ("[2, 1, 3], because 1 > 3", {1: 0, 0: 1, 2: 2}),
        ("[2, 1]", {1: 0, 0: 1}),  # one is missing: none is shifted
        ("[2, 9, 0, 1, 3]", {1: 0, 0: 3, 2: 4}),
        ("[2, 1, 3, 2]", {0: 1, 2: 2}),
        ("[2, [3, 1", {1: 0, 2: 1}),  # cut: 1 may be the start of 12
        ("[2, 3,", {1: 0, 2: 1}),
        ("I cannot say.", {}),
        ("[]", {}),
        ("", {}),
    ],
)
def test_positions_are_matched_by_number(answer: str, expected: dict[int, int]) -> None:
    assert listwise.positions(answer, 3) == expected


def test_a_text_of_several_lines_is_one_item() -> None:
    assert "[1] a [2] b\n[2] c" in listwise.prompt("which?", ["a\n[2] b", "c"])


# --- Ranks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_ranks_are_those_of_sql(seed: int) -> None:
    chance = random.Random(seed)
    rows = [f"row {chance.randrange(chance.choice([5, 60, 1000]))}" for _ in range(chance.randrange(1, 150))]
    texts, weights = distinct(rows)
    k = chance.choice([None, 1, 3, 10, 40])
    found = ranks(run(ranked(texts, weights, listing(), k), Judge(number)), weights)
    true = dict(
        duckdb.execute(
            "select t, rank() over (order by cast(split_part(t, ' ', 2) as int) desc) from unnest(?) as x(t)", [rows]
        ).fetchall()
    )
    assert {texts[index]: rank for index, rank in found.items()}.items() <= true.items()
    wanted = {text for text, rank in true.items() if k is None or rank <= k}
    assert wanted <= {texts[index] for index in found}


@pytest.mark.parametrize(("rows", "k", "most"), [(200, 10, 40), (200, None, 100), (1000, 10, 140), (20, 3, 2)])
def test_prompts_are_few(rows: int, k: int | None, most: int) -> None:
    for seed in range(3):
        texts = [f"seed {seed} row {value}" for value in range(rows)]
        judge = Judge(number)
        found = ranks(run(ranked(texts, [1] * rows, listing(), k), judge), [1] * rows)
        assert {index for index, rank in found.items() if rank <= (k or rows)} == set(range(rows - (k or rows), rows))
        assert len(judge.prompts) <= most
        assert judge.rounds <= 8
        assert len(set(judge.prompts)) == len(judge.prompts)


def test_a_group_of_one_costs_nothing() -> None:
    judge = Judge(number)
    steps = [ranked([f"row {value}"], [3], listing(), 2) for value in range(9)]
    assert [found.classes for found in run(together(steps), judge)] == [[[0]]] * 9
    assert run(ranked([], [], listing()), judge).classes == []
    assert not judge.prompts


def test_groups_share_rounds() -> None:
    judge = Judge(number)
    steps = [ranked([f"row {value}" for value in range(size)], [1] * size, listing()) for size in (3, 15, 40, 1)]
    found = run(together(steps), judge)
    assert [len(one.classes) for one in found] == [3, 15, 40, 1]
    assert judge.rounds <= 5


def test_a_judge_of_places_finds_all_tied_however_the_rows_are_shuffled() -> None:
    texts = [f"row {value}" for value in range(30)]
    for seed in range(5):
        random.Random(seed).shuffle(texts)
        found = run(ranked(texts, [1] * 30, listing(size=7)), FirstShown())
        assert set(ranks(found, [1] * 30).values()) == {1}


def test_the_order_of_rows_changes_nothing() -> None:
    texts = [f"row {value}" for value in range(80)]
    results = []
    for seed in range(3):
        random.Random(seed).shuffle(texts)
        judge = Judge(lambda text: hash(number(text) // 7))
        found = ranks(run(ranked(texts, [1] * 80, listing(), 12), judge), [1] * 80)
        results.append(({texts[index]: rank for index, rank in found.items()}, sorted(judge.prompts)))
    assert results[0] == results[1] == results[2]


def test_a_judge_that_errs_is_near_the_truth() -> None:
    texts = [f"row {value}" for value in range(200)]
    hits = 0
    for noise in (2.0, 5.0):
        found = ranks(run(ranked(texts, [1] * 200, listing(), 10), Judge(number, noise=noise)), [1] * 200)
        hits += sum(rank <= 10 and index >= 185 for index, rank in found.items())
    assert hits >= 17


def test_numbers_that_are_missing_are_asked_again_alone() -> None:
    def without_last(answer: str, number: int) -> str:
        return answer if number % 7 else answer.rpartition(",")[0] + "]"

    texts = [f"row {value}" for value in range(60)]
    judge = Judge(number, reply=without_last)
    found = run(ranked(texts, [1] * 60, listing()), judge)
    assert not found.failed
    assert ranks(found, [1] * 60) == {value: 60 - value for value in range(60)}


@pytest.mark.parametrize("rows", [2, 5, 20, 70])
def test_a_text_without_an_answer_fails_alone(rows: int) -> None:
    texts = [f"row {value}" for value in range(rows)]
    judge = Judge(number, bad=["row 1"])
    found = run(ranked(texts, [1] * rows, listing()), judge)
    assert found.failed == {1: "content_filter: no"}
    others = [value for value in range(rows) if value != 1]
    assert ranks(found, [1] * rows) == {value: len(others) - place for place, value in enumerate(others)}
    assert len(judge.prompts) < 2 * rows + 30


def test_a_model_without_answers_is_given_up_soon() -> None:
    asked: list[str] = []

    def silent(prompts: Sequence[object]) -> list[Answer]:
        asked.extend(map(str, prompts))
        return [Answer("I will not.") for _ in prompts]

    found = run(ranked([f"row {value}" for value in range(500)], [1] * 500, listing(), 5), silent)
    assert len(found.failed) == 500
    assert len(asked) < 40


def test_lists_fit_the_context() -> None:
    texts = [f"{'word ' * (value % 50)}row {value}" for value in range(60)] + ["word " * 900 + "row 99"]
    judge = Judge(number)
    found = run(ranked(texts, [1] * 61, listing(context=600)), judge)
    assert max(len(prompt) // 4 for prompt in judge.prompts) <= 600
    assert "longer than the context" in found.failed[60]
    assert ranks(found, [1] * 61) == {value: 60 - value for value in range(60)}


def test_long_texts_fit_beside_the_pivots() -> None:
    texts = [f"{'word ' * (20 + value * 7)}row {value}" for value in range(25)]
    judge = Judge(number)
    found = run(ranked(texts, [1] * 25, listing(context=600), 3), judge)
    assert max(len(prompt) // 4 for prompt in judge.prompts) <= 600
    assert {index for index, rank in ranks(found, [1] * 25).items() if rank <= 3} == {22, 23, 24}


def test_a_text_that_long_answers_always_leave_out_is_placed_by_short_ones() -> None:
    def without(answer: str, _: int) -> str:
        numbers = answer.strip("[]").split(", ")
        return f"[{', '.join(numbers[:2] + numbers[3:])}]" if len(numbers) > 4 else answer

    texts = [f"row {value}" for value in range(6)]
    judge = Judge(number, reply=without)
    found = run(ranked(texts, [1] * 6, listing(both=False)), judge)
    assert ranks(found, [1] * 6) == {value: 6 - value for value in range(6)}
    assert len(judge.prompts) < 30


def test_one_order_alone_asks_half() -> None:
    texts = [f"row {value}" for value in range(100)]
    judges = [Judge(number), Judge(number)]
    both, one = (
        run(ranked(texts, [1] * 100, listing(both=both), 5), judge)
        for both, judge in zip((True, False), judges, strict=True)
    )
    assert isinstance(both, Ranked)
    assert both.classes == one.classes
    assert len(judges[0].prompts) == 2 * len(judges[1].prompts)
