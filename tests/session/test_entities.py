"""The algorithms of Dedup and Cluster against an oracle: right groups, few prompts, in whatever order the rows are."""

from __future__ import annotations

import random

import pytest

from sqlllm.session.operators import topics
from sqlllm.session.operators.entities import Entities, Limits, entities
from sqlllm.session.operators.neighbours import spelled

from .oracles import Oracle, Same, companies

LIMITS = Limits(lambda text: len(text) // 4 + 1, 8192)
STATEMENT = "{A} is the same company as {B}"


def found(records: list[str], same: Same, **faults: float) -> tuple[Entities, Oracle]:
    oracle = Oracle(same, **faults)  # type: ignore[arg-type]
    return entities(records, spelled(records), STATEMENT, LIMITS, oracle.ask), oracle


def parts(records: list[str], result: Entities) -> set[frozenset[str]]:
    groups: dict[int, set[str]] = {}
    for record, canonical in zip(records, result.canonical, strict=True):
        groups.setdefault(canonical, set()).add(record)
    assert all(records[canonical] in group for canonical, group in groups.items())
    return {frozenset(group) for group in groups.values()}


def names(truth: dict[str, str]) -> set[frozenset[str]]:
    return {frozenset(one for one in truth if truth[one] == name) for name in truth.values()}


def test_three_hundred_names_of_a_hundred_companies() -> None:
    truth = companies(100)
    records = random.Random(1).sample(sorted(truth), len(truth))
    result, oracle = found(records, lambda one, other: truth[one] == truth[other])
    assert parts(records, result) == names(truth)
    assert (len(oracle.prompts), result.failed) == (result.prompts, {})
    assert result.prompts <= 60


@pytest.mark.parametrize("faults", [{"forgets": 0.3}, {"longest": 30}, {"forgets": 0.2, "longest": 40}], ids=str)
def test_records_that_an_answer_leaves_out_are_asked_again(faults: dict[str, float]) -> None:
    truth = companies(12)
    records = sorted(truth)
    result, _ = found(records, lambda one, other: truth[one] == truth[other], **faults)
    assert parts(records, result) == names(truth)


def test_an_oracle_that_errs_gives_about_the_right_groups() -> None:
    truth = companies(40)
    records = sorted(truth)
    result, _ = found(records, lambda one, other: truth[one] == truth[other], error=0.01)
    pairs = [(one, other) for one in range(120) for other in range(one)]
    said = {pair for pair in pairs if result.canonical[pair[0]] == result.canonical[pair[1]]}
    right = {pair for pair in pairs if truth[records[pair[0]]] == truth[records[pair[1]]]}
    assert (
        2 * len(said & right) / (len(said) + len(right)) > 0.75
    )  # a wrong answer about two groups merges all of their records


@pytest.mark.parametrize("length", [4, 10, 33])
def test_a_chain_does_not_become_one_entity(length: int) -> None:
    """Each is like the next alone. The groups are narrow, and the same in any order."""

    def like(one: str, other: str) -> bool:
        return abs(int(one.split()[-1]) - int(other.split()[-1])) <= 1

    chain = [f"part number {number}" for number in range(length)]
    outcomes = set()
    for seed in range(4):
        shuffled = random.Random(seed).sample(chain, length)
        result, _ = found(shuffled, like)
        groups = parts(shuffled, result)
        for record, canonical in zip(shuffled, result.canonical, strict=True):
            assert like(record, shuffled[canonical])
        outcomes.add(frozenset(groups))
    assert len(outcomes) == 1


def test_one_bad_record_fails_alone() -> None:
    truth = companies(20)
    records = sorted(truth)
    bad = records[7]
    result, oracle = found(records, lambda one, other: truth[one] == truth[other], refuses=bad)
    groups = parts(records, result)
    assert frozenset({bad}) in groups
    assert groups - {frozenset({bad})} == {group - {bad} for group in names(truth)}
    assert result.failed
    assert all(7 in pair for pair in result.failed)
    assert len(oracle.prompts) < 60


def test_a_model_that_says_nothing_leaves_every_record_alone() -> None:
    records = sorted(companies(4))
    result = entities(records, spelled(records), STATEMENT, LIMITS, lambda prompts: ["Sorry." for _ in prompts])
    assert result.canonical == list(range(12))
    assert len(result.failed) == 66


@pytest.mark.parametrize("records", [[], ["alone"], ["one", "other"]])
def test_few_records(records: list[str]) -> None:
    oracle = Oracle(lambda one, other: True)
    vectors = spelled(records) if records else spelled(["_"])[:0]
    result = entities(records, vectors, STATEMENT, LIMITS, oracle.ask)
    assert len(set(result.canonical)) == min(1, len(records))
    assert len(oracle.prompts) == (len(records) == 2)


def test_prompts_fit_the_context() -> None:
    records = [f"{'very ' * 60}long name {number % 5} of {number}" for number in range(30)]
    oracle = Oracle(lambda one, other: one.split()[-3] == other.split()[-3])
    limits = Limits(LIMITS.tokens, 600)
    entities(records, spelled(records), STATEMENT, limits, oracle.ask)
    assert max(len(prompt) // 4 for prompt in oracle.prompts) < 600


# --- Cluster -----------------------------------------------------------------------------------------------------

TEXTS = [
    *(f"the parcel came {number} days late" for number in range(10)),
    *(f"battery of phone {number} is dead" for number in range(8)),
    *(f"refund for invoice {number} please" for number in range(6)),
]


@pytest.mark.parametrize("k", [0, 3])
def test_clusters_are_those_of_the_texts_in_any_order(k: int) -> None:
    for seed in range(2):
        texts = random.Random(seed).sample(TEXTS, len(TEXTS))
        result = topics.topics(texts, [1] * len(texts), spelled(texts), k)
        by_text = dict(zip(texts, result.clusters, strict=True))
        assert [by_text[text] for text in TEXTS] == [0] * 10 + [1] * 8 + [2] * 6
        assert all(result.clusters[row] == number for number, rows in enumerate(result.representatives) for row in rows)
        assert all(0 < near <= 1.00001 for near in result.near)


def test_texts_without_letters_have_a_cluster() -> None:
    texts = ["!!!", "???", "...", "the parcel"]
    result = topics.topics(texts, [1] * 4, spelled(texts), 4)
    assert result.clusters[3] not in result.clusters[:3]
    assert len(result.names) == len(set(result.clusters))


def test_rows_count_for_the_order_of_clusters() -> None:
    result = topics.topics(TEXTS, [1] * 18 + [10] * 6, spelled(TEXTS), 3)
    assert result.clusters == [1] * 10 + [2] * 8 + [0] * 6


@pytest.mark.parametrize(("texts", "k", "clusters"), [(["a"], 0, 1), (["a", "b"], 5, 2), (TEXTS, 24, 24)])
def test_no_more_clusters_than_texts(texts: list[str], k: int, clusters: int) -> None:
    result = topics.topics(texts, [1] * len(texts), spelled(texts), k)
    assert len(set(result.clusters)) == clusters == len(result.names)


@pytest.mark.parametrize(("context", "prompts"), [(8192, 1), (400, 3)])
def test_names_come_from_the_model(context: int, prompts: int) -> None:
    result, oracle = topics.topics(TEXTS, [1] * 24, spelled(TEXTS), 3), Oracle(lambda one, other: True)
    topics.name(result, TEXTS, oracle.ask, LIMITS.tokens, context)
    assert (result.names, result.failed) == (["Topic 1", "Topic 2", "Topic 3"], {})
    assert len(oracle.prompts) <= prompts
    assert max(map(LIMITS.tokens, oracle.prompts)) < context


def test_a_name_that_is_left_out_or_taken_is_asked_again() -> None:
    result = topics.topics(TEXTS, [1] * 24, spelled(TEXTS), 3)
    answers = iter(["C1: Late\nC3: Late\nEND", "C2: Dead\nC3: Refunds\nEND"])
    prompts: list[str] = []

    def ask(asked: list[str]) -> list[str]:
        prompts.extend(asked)
        return [next(answers) for _ in asked]

    topics.name(result, TEXTS, ask, LIMITS.tokens, 8192)  # type: ignore[arg-type]
    assert (result.names, result.failed) == (["Late", "Dead", "Refunds"], {})
    assert "Group C1" not in prompts[1]
    assert "not to be used again: Late" in prompts[1]


def test_a_cluster_without_a_name_says_why() -> None:
    result, oracle = (
        topics.topics(TEXTS, [1] * 24, spelled(TEXTS), 3),
        Oracle(lambda one, other: True, refuses="parcel"),
    )
    topics.name(result, TEXTS, oracle.ask, LIMITS.tokens, 150)
    assert result.names == [None, "Topic 2", "Topic 3"]
    assert result.failed[0].kind == "refusal"
