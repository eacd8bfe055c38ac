"""The classifier of a cascade on vectors, and what a helper's log probabilities say; nothing is deployed."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, log
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pytest

from sqlllm.session.operators import cascade, proxy
from sqlllm.session.operators.asking import Reply
from sqlllm.session.operators.cascade import Asked
from sqlllm.session.operators.guarantee import Targets
from sqlllm.udfs.cascades import Decision

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sqlllm.session.operators.tools import Tools

SIZE, ROWS = 16, 4000


class Main:
    """The main model: a text is its number, true if its vector points one way."""

    model = "main"

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.asked: list[int] = []
        self._true = vectors[:, 0] + 0.5 * vectors[:, 1] > 0

    def ask(self, prompts: Sequence[str], **how: object) -> list[Reply]:
        self.asked += map(int, prompts)
        return [Reply(str(bool(self._true[int(one)])).lower()) for one in prompts]


class Fake:
    """The tools of a statement, with made vectors."""

    def __init__(self, noise: float) -> None:
        chance = np.random.default_rng(5)
        self.vectors = chance.normal(size=(ROWS, SIZE)).astype(np.float32)
        self.main = Main(self.vectors)
        self.seen = (self.vectors + noise * chance.normal(size=self.vectors.shape)).astype(np.float32)
        self.notes: list[str] = []

    def asker(self, _: str = "") -> Main:
        return self.main

    def embed(self, texts: Sequence[str], model: str = "", *, unit: bool = True) -> NDArray[np.float32]:
        return self.seen[[int(one) for one in texts]]

    def step(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


def decide(fake: Fake, helper: str = "emb") -> Decision | None:
    texts = list(map(str, np.random.default_rng(1).permutation(ROWS)[: cascade.MOST]))
    tables = {"sample": pa.table({"text": texts}), "rows": pa.table({"rows": [ROWS]})}
    return cascade.decision(tables, cast("Tools", fake), Asked(helper, "", Targets()))


def test_a_classifier_learns_what_the_main_model_says() -> None:
    fake = Fake(noise=0.2)
    found = decide(fake)
    assert found is not None
    assert (found.by, len(found.weights)) == ("vector", SIZE + 1)
    scores = fake.seen @ np.asarray(found.weights[:-1]) + found.weights[-1]
    taken, between = scores >= found.high, (scores >= found.low) & (scores < found.high)
    true = fake.main._true
    hits = (taken & true).sum() + (between & true).sum()
    assert hits >= 0.9 * true.sum()
    assert hits >= 0.9 * (taken | (between & true)).sum()
    assert between.mean() + len(set(fake.main.asked)) / ROWS < 0.4


def test_clusters_whose_votes_agree_are_decided() -> None:
    fake = Fake(noise=0.0)
    fake.seen = fake.vectors[:, :2]
    found = decide(fake, "auto")
    assert found is not None
    assert found.by == "cluster"
    clusters = np.asarray(found.clusters)
    near = (fake.seen @ clusters[:, :2].T + clusters[:, 2]).argmax(axis=1)
    scores = clusters[near, 3]
    between = (scores >= found.low) & (scores < found.high)
    true = fake.main._true
    hits = ((scores >= found.high) & true).sum() + (between & true).sum()
    assert hits >= 0.9 * true.sum()
    assert hits >= 0.9 * ((scores >= found.high) | (between & true)).sum()
    assert between.mean() < 0.5


def test_vectors_that_say_nothing_fail_the_gate() -> None:
    fake = Fake(noise=1000.0)
    found = decide(fake)
    if found is not None:
        scores = fake.seen @ np.asarray(found.weights[:-1]) + found.weights[-1]
        assert ((scores >= found.low) & (scores < found.high)).mean() > 0.6
    else:
        assert fake.notes[0].startswith("main decides every row, because")


def test_one_class_alone_is_not_an_error() -> None:
    weights = proxy.fit(np.eye(3, dtype=np.float32), [True, True, True])
    assert np.isfinite(weights).all()


@pytest.mark.parametrize(
    ("tokens", "share"),
    [
        ({"true": 0.6, "True": 0.1, "false": 0.3}, 0.7),
        ({" false": 0.9, "\ttrue": 0.1}, 0.1),
        ({"maybe": 1.0}, None),
    ],
)
def test_the_share_of_true_among_the_first_tokens(tokens: dict[str, float], share: float | None) -> None:
    told: list[dict[str, Any]] = [{"top_logprobs": [{"token": one, "logprob": log(p)} for one, p in tokens.items()]}]
    found = proxy.share_of_true(told)
    assert isnan(found) if share is None else found == pytest.approx(share)
    assert isnan(proxy.share_of_true([]))


def test_a_decision_is_read_as_it_was_written() -> None:
    made = [
        Decision("vector", 0.0, 1.0, (0.5, 0.25)),
        Decision("cluster", 0.25, 0.5, clusters=((1.0, 2.0, 0.5), (0.0, 0.0, 0.25))),
    ]
    for decision in (Decision("number", 0.25, 0.5), *made, Decision("confidence", 0.1)):
        assert Decision.read(decision.json()) == decision
    nothing_accepted = Decision.read(Decision("number", 0.2).json())
    assert (nothing_accepted.low, nothing_accepted.high) == (0.2, float("inf"))
    for wrong in ("0.5", "[]", '{"by": "me"}', '{"low": "x"}', '{"by": "vector"}', '{"lo": 1}'):
        with pytest.raises(ValueError, match="thresholds is JSON"):
            Decision.read(wrong)
