"""Scores of texts that cost little: from a helper's log probabilities, or by a classifier on vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .tools import Tools

Score = Callable[[Sequence[str]], Sequence[float]]
_RIDGE, _STEPS = 1.0, 25


def share_of_true(logprobs: Sequence[Mapping[str, Any]]) -> float:
    """P(true) / (P(true) + P(false)) of the first token of an answer; NaN where neither is among the alternatives."""
    shares = {"t": 0.0, "f": 0.0}
    for one in (logprobs[0].get("top_logprobs") or ()) if logprobs else ():
        start = str(one["token"]).strip().lower()[:1]
        if start in shares:
            shares[start] += exp(one["logprob"])
    total = shares["t"] + shares["f"]
    return shares["t"] / total if total else float("nan")


def fit(vectors: NDArray[np.float32], labels: Sequence[bool]) -> NDArray[np.float64]:
    """The weights of a logistic regression with a ridge, the constant last; a rare class counts like the other."""
    x = np.hstack([vectors.astype(float), np.ones((len(vectors), 1))])
    y = np.asarray(labels, float)
    positives = max(1.0, y.sum())
    weight = np.where(y > 0, len(y) / (2 * positives), len(y) / (2 * max(1.0, len(y) - positives)))
    ridge = np.full(x.shape[1], _RIDGE)
    ridge[-1] = 1e-6
    found = np.zeros(x.shape[1])
    for _ in range(_STEPS):  # Newton's
        p = 1 / (1 + np.exp(-np.clip(x @ found, -30, 30)))
        gradient = x.T @ (weight * (p - y)) + ridge * found
        hessian = (x.T * (weight * p * (1 - p))) @ x + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        found = found - step
        if np.abs(step).max() < 1e-6:
            break
    return found


@dataclass(frozen=True)
class Proxy:
    """How scores are made (see `cascades.Decision`), and how many of the texts were learnt from: others are to test."""

    by: str
    score: Score
    weights: Sequence[float] = ()
    clusters: Sequence[Sequence[float]] = ()
    seen: int = 0


def trained(tools: Tools, texts: Sequence[str], labelled: Callable[[int], Sequence[bool]], first: int) -> Proxy:
    """A classifier that has learnt from the first texts."""
    weights = _rounded(fit(tools.embed(texts[:first], unit=False), labelled(first)))
    return Proxy(
        "vector", _scores(tools, lambda vectors: vectors @ weights[:-1] + weights[-1]), weights.tolist(), (), first
    )


def clustered(tools: Tools, texts: Sequence[str], labelled: Callable[[int], Sequence[bool]], first: int) -> Proxy:
    """The same by clusters: a row's score is the share of true ones among the labelled rows of its cluster.

    Rows of clusters whose votes agree can be decided, those of the others are asked about.
    """
    vectors, labels = tools.embed(texts[:first], unit=False).astype(float), np.asarray(labelled(first), float)
    centres = _rounded(centres_of(vectors, max(2, round((first / 8) ** 0.5))))
    pull = _rounded(-(centres**2).sum(axis=1) / 2)
    near = (vectors @ centres.T + pull).argmax(axis=1)
    votes = [labels[near == one] for one in range(len(centres))]
    shares = _rounded(np.asarray([(one.sum() + 1) / (len(one) + 2) for one in votes]))  # one vote of each kind before
    clusters = np.hstack([centres, pull[:, None], shares[:, None]]).tolist()
    score = _scores(tools, lambda some: shares[(some @ centres.T + pull).argmax(axis=1)])
    return Proxy("cluster", score, clusters=clusters, seen=first)


def centres_of(vectors: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """k-means, the same each time."""
    chance = np.random.default_rng(0)
    centres = vectors[chance.choice(len(vectors), number, replace=False)]
    for _ in range(_STEPS):
        near = (vectors @ centres.T - (centres**2).sum(axis=1) / 2).argmax(axis=1)
        moved = np.stack(
            [vectors[near == one].mean(axis=0) if (near == one).any() else centres[one] for one in range(number)]
        )
        if np.allclose(moved, centres):
            break
        centres = moved
    return centres


def _rounded(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """As SQL has them."""
    return np.round(numbers, 6)


def _scores(tools: Tools, of: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Score:
    """The scores of texts by their vectors; NaN for a text without a vector."""

    def score(texts: Sequence[str]) -> list[float]:
        vectors = tools.embed(texts, unit=False).astype(float)
        known = np.abs(vectors).sum(axis=1) > 0
        return [float(one) for one in np.where(known, of(vectors), np.nan)]

    return score
