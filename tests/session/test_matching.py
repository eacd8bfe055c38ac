"""The semantic join's algorithms against an oracle: the right pairs, few prompts, whatever the answers leave out."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from sqlllm.session.operators import neighbours
from sqlllm.session.operators.blocks import Block, Reply, Sides
from sqlllm.session.operators.matching import METHODS, Problem, costs, match
from sqlllm.session.operators.neighbours import enough, fewest, nearest, spelled
from sqlllm.session.operators.numbered import groups, links, named

from .oracles import Oracle

LINKS = [  # an answer about 3 rows L and 4 rows R, and what it says
    ("L1: R2, R4\nL2: none\nL3: R1\nEND", {0: {1, 3}, 1: set(), 2: {0}}),
    ("L1: R2, R4\nL3: R1\nEND", {0: {1, 3}, 2: {0}}),  # one is left out: nothing is shifted
    ("L1: R2\nL2: none\nL3: R1", {0: {1}, 1: set()}),  # cut: R1 may have been R10
    ("L1: R2\nL2: no", {0: {1}}),
    ('{"L1": ["R2"], "L2": [], "L3": ["R1", "R3"]}', {0: {1}, 1: set(), 2: {0, 2}}),
    ('```json\n{"L1": ["R2"], "L2": []}\n```', {0: {1}, 1: set()}),
    ('{"L1": ["R2"], "L2": ["R', {0: {1}}),
    ("l1 - r2\nl2: -\nL3: None.\nEND", {0: {1}, 1: set(), 2: set()}),
    ("L1: R9\nL2: R2\nL7: R1\nL3: none\nEND", {1: {1}, 2: set()}),  # rows that were not shown
    ("L1: R1\nL1: R2\nL2: none\nL3: none, R1\nEND", {1: set()}),  # two answers for one row
    ("The pairs are:\nL1: R1\nL2: R2 and R3\nL3: none\nEND", {0: {0}, 1: {1, 2}, 2: set()}),
    ("L1:\nL2: R1\nEND", {1: {0}}),
    ("I cannot help with that.", {}),
    ("", {}),
]


@pytest.mark.parametrize(("answer", "said"), LINKS)
def test_rows_are_matched_by_id(answer: str, said: dict[int, set[int]]) -> None:
    assert links(answer, 3, 4) == said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("1, 3\n2\n4, 5\nEND", [[0, 2], [1], [3, 4]]),
        ("1, 3\n2\n4, 5", [[0, 2], [1]]),  # cut
        ("[[1, 3], [2], [4, 5]]", [[0, 2], [1], [3, 4]]),
        ("Group 1: 1, 3\nGroup 2: 2\nEND", [[0, 2], [1]]),
        ("1, 3\n3, 2\n4\nEND", [[0], [1], [3]]),  # 3 stands in two groups
        ("1, 9\nEND", [[0]]),
        ("none of them\nEND", []),
    ],
)
def test_groups_of_an_answer(answer: str, said: list[list[int]]) -> None:
    assert groups(answer, 5) == said


def test_names_of_an_answer() -> None:
    assert named('C1: Late deliveries\n**C2**: "Dead batteries."\nC9: x\nEND', [0, 1]) == {
        0: "Late deliveries",
        1: "Dead batteries",
    }
    assert named("C1: Late\nC2: Dea", [0, 1]) == {0: "Late"}


# --- Joins -------------------------------------------------------------------------------------------------------


def same(one: str, other: str) -> bool:
    return one.lower() == other.lower()


def problem(lefts: Sequence[str], rights: Sequence[str], blocks: Sequence[Block] = (), **more: float) -> Problem:
    sides = Sides(lefts, rights, "{L} is the same as {R}", lambda a, b: f"Is <{lefts[a]}> the same as <{rights[b]}>?")
    whole = Block(tuple(range(len(lefts))), tuple(range(len(rights))))
    options: dict[str, float] = {"context": 8192, **more}
    return Problem(sides, blocks or [whole], lambda text: len(text) // 4 + 1, **options)  # type: ignore[arg-type]


def products(count: int, alike: int, seed: int = 1) -> tuple[list[str], list[str]]:
    chance = random.Random(seed)
    lefts = [f"product {chance.randrange(10**6)} model {n}" for n in range(count)]
    rights = [text.upper() for text in lefts[:alike]]
    rights += [f"THING {chance.randrange(10**6)} NO {n}" for n in range(count - alike)]
    chance.shuffle(rights)
    return lefts, rights


def truth(lefts: Sequence[str], rights: Sequence[str]) -> set[tuple[int, int]]:
    return {(a, b) for a, one in enumerate(lefts) for b, other in enumerate(rights) if same(one, other)}


@pytest.mark.parametrize("method", METHODS[:4])
def test_every_way_finds_the_same_pairs(method: str) -> None:
    lefts, rights = products(60, 48)
    oracle = Oracle(same)
    found = match(problem(lefts, rights), oracle.ask, spelled, method)
    assert (found.pairs, found.failed) == (truth(lefts, rights), [])
    assert oracle.pairs == 3600
    assert len(oracle.prompts) == {"auto": 4, "blocks": 4, "pairs": 3600, "classify": 60}[method] == found.prompts


def test_the_costs_are_those_of_the_run() -> None:
    lefts, rights = products(60, 48)
    for cost in costs(problem(lefts, rights)):
        oracle = Oracle(same)
        match(problem(lefts, rights), oracle.ask, spelled, cost.method)
        assert cost.calls == len(oracle.prompts)
        assert oracle.tokens / 2 < cost.prompt_tokens + cost.answer_tokens < 2 * oracle.tokens


FAULTS = [
    {"forgets": 0.3},
    {"longest": 90},
    {"form": "json"},
    {"form": "json", "longest": 60},
    {"error": 0.05},
    {"error": 0.02, "forgets": 0.5, "longest": 200},
]


@pytest.mark.parametrize("faults", FAULTS, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_what_an_answer_leaves_out_is_asked_again(faults: dict[str, float], seed: int) -> None:
    lefts, rights = products(40, 30, seed)
    oracle = Oracle(same, **faults)  # type: ignore[arg-type]
    found = match(problem(lefts, rights), oracle.ask, spelled)
    judge = Oracle(same, error=oracle.error)
    assert found.failed == []
    assert found.pairs == {(a, b) for a in range(40) for b in range(40) if judge.judges(lefts[a], rights[b])}
    assert len(oracle.prompts) < 160


def test_cut_answers_make_the_next_prompts_smaller() -> None:
    lefts, rights = products(320, 300)
    oracle = Oracle(same, longest=100)
    assert match(problem(lefts, rights), oracle.ask, spelled, "blocks").pairs == truth(lefts, rights)
    first, last = oracle.prompts[0], oracle.prompts[-1]
    assert first.count("\nL") > 30
    assert last.count("\nL") <= 10


@pytest.mark.parametrize("side", [0, 1])
def test_one_bad_row_fails_alone(side: int) -> None:
    lefts, rights = products(64, 60)
    bad = 7
    oracle = Oracle(same, refuses=(lefts, rights)[side][bad])
    found = match(problem(lefts, rights), oracle.ask, spelled)
    right = {pair for pair in truth(lefts, rights) if pair[side] != bad}
    assert found.pairs == right
    failed = {(a, b) for block, _ in found.failed for a in block.lefts for b in block.rights}
    assert failed == {(bad, b) if side == 0 else (b, bad) for b in range(64)}
    assert {error.kind for _, error in found.failed} == {"refusal"}
    assert len(oracle.prompts) < 40


def test_a_model_that_says_nothing_fails_every_pair() -> None:
    lefts, rights = products(6, 6)
    found = match(problem(lefts, rights), lambda prompts: ["Sorry." for _ in prompts], spelled)
    assert sum(block.pairs for block, _ in found.failed) == 36
    assert not found.pairs
    assert found.prompts < 100


def test_equalities_leave_groups() -> None:
    lefts, rights = products(300, 300)
    blocks = [
        Block(tuple(range(at, at + 3)), tuple(b for b in range(300) if b % 100 == at // 3)) for at in range(0, 300, 3)
    ]
    oracle = Oracle(same)
    found = match(problem(lefts, rights, blocks), oracle.ask, spelled)
    allowed = {(a, b) for block in blocks for a in block.lefts for b in block.rights}
    assert found.pairs == truth(lefts, rights) & allowed
    assert len(oracle.prompts) < 12  # groups share prompts
    assert oracle.pairs == 900


def test_an_empty_side_costs_nothing() -> None:
    for lefts, rights in (([], ["a"]), (["a"], []), ([], [])):
        oracle = Oracle(same)
        assert match(problem(lefts, rights), oracle.ask, spelled).pairs == set()
        assert [cost.calls for cost in costs(problem(lefts, rights))] == [0]
        assert oracle.prompts == []


def test_all_pairs_are_never_made() -> None:
    rows = [f"row {n}" for n in range(10_000)]
    waves: list[int] = []

    def ask(prompts: Sequence[str]) -> list[Reply]:
        waves.append(len(prompts))
        raise InterruptedError

    large = problem(rows, rows)
    assert costs(large)[0].calls == 313 * 313
    with pytest.raises(InterruptedError):
        match(large, ask, spelled)
    assert waves == [64]


@pytest.mark.parametrize("context", [300, 1000, 4000])
def test_prompts_fit_the_context(context: int) -> None:
    lefts = [f"{'long ' * (n % 40)}{n}" for n in range(100)]
    oracle = Oracle(same)
    found = match(problem(lefts, lefts, context=context), oracle.ask, spelled)
    assert found.pairs == {(n, n) for n in range(100)}
    assert max(len(prompt) // 4 for prompt in oracle.prompts) < context


def test_long_rows_beside_few_short_ones_go_one_by_one() -> None:
    lefts = [f"{n} {'word ' * 3000}" for n in range(5)]
    rights = ["sport", "politics", "trade"]
    cheapest = costs(problem(lefts, rights, context=6000))[0]
    assert (cheapest.method, cheapest.calls) in {("classify", 5), ("blocks", 5)}


# --- Candidates --------------------------------------------------------------------------------------------------


def test_candidates_ask_about_few_pairs() -> None:
    chance = random.Random(5)
    makers, things = ["acme", "sony", "bosch", "dell", "apple", "lg"], ["phone", "tv", "drill", "laptop", "pad"]
    lefts = [f"{chance.choice(makers)} {chance.choice(things)} {chance.randrange(10**5)}" for _ in range(500)]
    rights = [text.upper() for text in lefts[:250]] + [f"{chance.choice(makers)} {n}" for n in range(250)]
    chance.shuffle(rights)
    oracle, right = Oracle(same), truth(lefts, rights)
    asked = problem(lefts, rights, recall=0.95)
    assert costs(asked)[0].method == "candidates"
    found = match(asked, oracle.ask, spelled)
    assert len(found.pairs & right) >= 0.95 * len(right)
    assert oracle.pairs <= 6_000  # of 250,000


def test_candidates_stay_within_the_equalities() -> None:
    lefts, rights = products(80, 80)
    blocks = [Block(tuple(range(40)), tuple(range(40))), Block(tuple(range(40, 80)), tuple(range(40, 80)))]
    oracle = Oracle(lambda one, other: True)
    found = match(problem(lefts, rights, blocks, recall=0.9), oracle.ask, spelled, "candidates")
    assert found.pairs
    assert all((a < 40) == (b < 40) for a, b in found.pairs)


def test_without_a_recall_target_nothing_is_left_out() -> None:
    lefts, rights = products(300, 300)
    assert "candidates" not in {cost.method for cost in costs(problem(lefts, rights))}


def test_neighbours_are_those_of_either_side() -> None:
    vectors = neighbours.unit([[1, 0], [0.9, 0.1], [0, 1]])
    assert nearest(vectors[:1], vectors, 1) == {(0, 0): 1, (0, 1): 1, (0, 2): 1}  # the only one of the other side
    assert nearest(vectors, vectors, 1) == {(0, 0): 1, (1, 1): 1, (2, 2): 1}
    ranks = nearest(spelled(["abc", "xyz"]), spelled(["abc", "xyz"]), 2)
    assert ranks[0, 0] == ranks[1, 1] == 1


@pytest.mark.parametrize(("recall", "share"), [(0.9, 0.5), (0.95, 0.7), (0.8, 0.3)])
def test_the_recall_target_is_missed_as_rarely_as_stated(recall: float, share: float) -> None:
    """Ranks of matches are geometric: the true recall of the first k neighbours is 1 - (1 - share)^k."""
    chance, missed = random.Random(11), 0
    seeds = 1000
    for _ in range(seeds):
        ranks = []
        for _ in range(3 * fewest(recall, 0.95)):
            rank = 1
            while chance.random() > share:
                rank += 1
            ranks.append(rank)
        count = enough(ranks, 40, recall, 0.95)
        missed += count is not None and 1 - (1 - share) ** count < recall
    assert missed <= 0.05 * seeds + 3 * (0.05 * 0.95 * seeds) ** 0.5


def test_too_few_matches_support_no_number() -> None:
    assert fewest(0.95, 0.95) == 59
    assert enough([1] * 58, 10, 0.95, 0.95) is None
    assert enough([1] * 59, 10, 0.95, 0.95) == 1
    assert enough([], 10, 0.95, 0.95) is None
