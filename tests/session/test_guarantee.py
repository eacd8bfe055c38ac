"""Thresholds of a cascade: the targets hold, however the helper and the share of true rows are; pure."""

from __future__ import annotations

from math import comb, inf, nan

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlglot import exp

from sqlllm.errors import OptionError
from sqlllm.session.operators.cascade import Filter
from sqlllm.session.operators.cut import Context, parse
from sqlllm.session.operators.guarantee import (
    Targets,
    Thresholds,
    agreement,
    binomial_tail,
    decided,
    fewest,
    first_sample,
    most_hits,
    sampled,
    thresholds,
)
from sqlllm.session.operators.surely import _near
from sqlllm.settings import LLMSettings

TARGETS = Targets(recall=0.9, precision=0.9, confidence=0.95)
ROWS = 6000


def made(seed: int, share: float, apart: float, levels: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores and what the main model says; `levels`: the number of different scores."""
    chance = np.random.default_rng(seed)
    true = chance.random(ROWS) < share
    scores = 1 / (1 + np.exp(-chance.normal(np.where(true, apart, -apart), 1.0)))
    return (np.round(scores * levels) / levels if levels else scores), true


def run(seed: int, scores: NDArray[np.float64], true: NDArray[np.bool_]) -> tuple[bool, float, str]:
    """Whether a target is missed, the share that the main model is asked, and why it is asked about all."""
    order = np.random.default_rng(seed + 10**6).permutation(len(scores))
    found = sampled(
        lambda n: (scores[order[:n]].tolist(), true[order[:n]].tolist()),
        len(scores),
        first_sample(len(scores)),
        TARGETS,
    )
    taken, asked = decided(scores, found.found)
    result = taken | (asked & true)
    hits = (result & true).sum()
    asked[order[: found.asked]] = True
    missed = hits < TARGETS.recall * true.sum() or hits < TARGETS.precision * result.sum()
    return bool(missed), float(asked.mean()), found.reason


def test_a_score_that_the_helper_does_not_give_is_not_near() -> None:
    assert _near("0.5", 0.45)
    assert not _near("0.5", 0.7)
    assert not _near("0.5", None)


@pytest.mark.parametrize("target", ["recall_target => 2", "precision_target => 'high'", "confidence => 1"])
def test_a_wrong_target_is_an_error_before_any_row_is_asked(target: str) -> None:
    tree = parse(f"select ai_filter(x, cascade => 'small', {target}) from t")
    assert isinstance(tree, exp.Select)
    with pytest.raises(OptionError, match="is a number between 0 and 1"):
        Filter().cut(tree.expressions[0], tree, Context(LLMSettings()))


def test_the_tail_of_a_binomial() -> None:
    for trials, share in ((5, 0.1), (30, 0.37)):
        for hits in range(trials + 1):
            exact = sum(comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(hits + 1))
            assert binomial_tail(hits, trials, share) == pytest.approx(exact)
    assert binomial_tail(0, 20_000, 0.5) == 0.0
    assert most_hits(46, 0.1, 0.05) == 1
    assert most_hits(10, 0.1, 0.05) == -1


@pytest.mark.parametrize(("share", "apart", "levels"), [(0.05, 1.3, 0), (0.3, 0.7, 0), (0.5, 1.0, 10), (0.7, 0.4, 1)])
def test_targets_are_missed_no_oftener_than_stated(share: float, apart: float, levels: int) -> None:
    seeds = 250
    misses = sum(run(seed, *made(seed, share, apart, levels))[0] for seed in range(seeds))
    assert misses <= (1 - TARGETS.confidence) * seeds


def test_a_good_helper_saves_most_calls() -> None:
    asked = [run(seed, *made(seed, 0.4, 1.7))[1] for seed in range(20)]
    assert np.mean(asked) < 0.12


def test_a_helper_that_knows_nothing_decides_little() -> None:
    for seed in range(20):
        missed, asked, _ = run(seed, *made(seed, 0.4, 0.0))
        assert not missed
        assert asked > 0.7


def test_few_true_rows_widen_the_sample_or_leave_all_to_the_main_model() -> None:
    scores, true = made(1, 0.0, 1.5)
    true[::300] = True  # 20 scattered ones
    sizes: list[int] = []
    order = np.random.default_rng(3).permutation(ROWS)

    def draw(count: int) -> tuple[list[float], list[bool]]:
        sizes.append(count)
        return scores[order[:count]].tolist(), true[order[:count]].tolist()

    found = sampled(draw, ROWS, first_sample(ROWS), TARGETS)
    assert sizes == [300, 1200]
    assert found.found == Thresholds(-inf, inf)
    assert "of 1,200 sampled rows are true, which is too few" in found.reason


def test_few_rows_are_not_sampled() -> None:
    found = sampled(lambda _: ([], []), 300, first_sample(300), TARGETS)
    assert (found.found, found.asked) == (Thresholds(-inf, inf), 0)


def test_rows_without_a_score_are_asked_about() -> None:
    scores, true = made(1, 0.5, 2.0)
    scores[::2] = nan
    found = thresholds(scores[:800].tolist(), true[:800].tolist(), TARGETS)
    taken, asked = decided(scores, found)
    assert asked[::2].all()
    assert not taken[::2].any()


def test_thresholds_that_cross_become_one() -> None:
    scores = [0.1] * 300 + [0.9] * 300
    found = thresholds(scores, [False] * 300 + [True] * 300, TARGETS)
    assert 0.1 < found.low == found.high <= 0.9


def test_one_wrong_row_less_than_shows_the_target() -> None:
    assert fewest(TARGETS) == 39
    few = thresholds([0.1] * 20 + [0.9] * 20, [False] * 20 + [True] * 20, TARGETS)
    assert not few.helps


@pytest.mark.parametrize("right", [0.7, 0.85, 0.97])
def test_answers_that_stand_are_right_as_often_as_stated(right: float) -> None:
    seeds, misses = 300, 0
    for seed in range(seeds):
        chance = np.random.default_rng(seed)
        good = chance.random(ROWS) < right
        sure = chance.beta(np.where(good, 4, 2), 2)
        start = agreement(sure[:400].tolist(), good[:400].tolist(), 0.9, 0.95)
        misses += bool(((sure >= start) & ~good).mean() > 0.1)
    assert misses <= 0.05 * seeds + 8  # of seeds, not of rows: a share at its bound is missed 5 % of the time
