"""The SQL of a cascade: a helper answers every row, and the main model those rows that the helper is not sure of.

`ai_filter(x, cascade => 'small', thresholds => '{"by": "number", "low": 0.1, "high": 0.9}')` holds all that a row
needs, so tasks decide without talk between them. Spark would evaluate both branches of a CASE that calls models;
instead the main model's request is NULL for a row that is decided, and NULL is not asked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, nextafter
from typing import Any

from .literals import text

LIKELY = (
    "How likely is it that what the user says is true? Answer with a number from 0 (certainly false) to 1 (certainly"
    " true) and nothing else."
)
SURE = (
    'Answer with a JSON object that has two keys: "answer", what is asked for, and "confidence", how sure you are that'
    " it is right, from 0 to 1."
)
BY = ("number", "logprobs", "vector", "cluster", "confidence")
SURELY = {kind: f"struct<answer: {kind}, confidence: double>" for kind in ("string", "double")}
"""What a helper that says how sure it is gives, by the type of its answer."""
TOKENS = 4
SCORED = {"returns": "boolean", "logprobs": "true", "top_logprobs": "10", "max_tokens": str(TOKENS)}
"""Fields of a request whose first token is scored."""


@dataclass(frozen=True)
class Decision:
    """How a helper decides: what its score is made of (`by`), and from where on it holds.

    `weights` are those of a classifier on vectors, the constant last; `clusters` are as `share` has them.
    """

    by: str = "number"
    low: float = -inf
    high: float = inf
    weights: Sequence[float] = field(default=(), repr=False)
    clusters: Sequence[Sequence[float]] = field(default=(), repr=False)

    def json(self) -> str:
        """The text of the argument `thresholds`; a threshold that nothing reaches is left out."""
        told: dict[str, Any] = {"by": self.by}
        told |= {name: value for name in ("low", "high") if isfinite(value := getattr(self, name))}
        if self.low == inf:  # all that is not accepted is rejected
            told["low"] = 1e308
        if self.high == -inf:
            told["high"] = -1e308
        told |= {name: value for name in ("weights", "clusters") if (value := getattr(self, name))}
        return json.dumps(told)

    @classmethod
    def read(cls, given: str) -> Decision:
        """The decision in a text. Raises ValueError."""
        usage = 'thresholds is JSON, as in {"by": "number", "low": 0.1, "high": 0.9}'
        try:
            told = json.loads(given)
            weights = tuple(float(one) for one in told.pop("weights", ()))
            clusters = tuple(tuple(float(one) for one in cluster) for cluster in told.pop("clusters", ()))
            low, high = float(told.pop("low", -inf)), float(told.pop("high", inf))
            found = cls(told.pop("by", "number"), low, high, weights, clusters)
        except (ValueError, TypeError, AttributeError):
            raise ValueError(usage) from None
        shaped = (found.by == "vector") == bool(weights) and (found.by == "cluster") == bool(clusters)
        if told or found.by not in BY or not shaped:
            raise ValueError(usage)
        return found


def likely(answer: str, by: str) -> str:
    """The score, from 0 to 1, in a helper's answer to a filter."""
    if by == "number":
        return f"try_cast(llm_result({answer}) as double)"
    tokens = "array<struct<token: string, logprob: double>>"
    first = f"from_json(get_json_object(get({answer}, 0), '$.logprobs.content[0].top_logprobs'), {text(tokens)})"

    def part(start: str) -> str:
        return f"aggregate({first}, 0D, (s, x) -> s + if(lower(trim(x.token)) like '{start}%', exp(x.logprob), 0D))"

    return f"try_divide({part('t')}, {part('t')} + {part('f')})"


def standing(answer: str, kind: str, decision: Decision, allowed: str) -> tuple[str, str]:
    """The answer of a helper that says how sure it is, and the condition under which it stands.

    `kind` is the type of the answer, `allowed` a condition on `{0}`, the answer.
    """
    told = f"from_json(llm_result({answer}), {text(SURELY[kind])})"
    sure = f"{told}.confidence >= {_number(decision.low)}"
    return f"{told}.answer", f"coalesce({sure} and {allowed.format(f'{told}.answer')}, false)"


def dot(vector: str, weights: Sequence[float]) -> str:
    """The score of a classifier on a vector."""
    factors = f"from_json({text(json.dumps(list(weights[:-1])))}, 'array<double>')"
    return f"aggregate(zip_with({vector}, {factors}, (a, b) -> a * b), {weights[-1]:.6g}D, (s, v) -> s + v)"


def share(vector: str, clusters: Sequence[Sequence[float]]) -> str:
    """The share of true rows in the cluster that is nearest to a vector.

    Each cluster is its centre, the number that makes the largest product the smallest distance, and its share.
    """
    found = [f"named_struct('near', {dot(vector, one[:-1])}, 'share', {one[-1]:.6g}D)" for one in clusters]
    nearest = f"greatest({', '.join(found)})" if len(found) > 1 else found[0]
    return f"if({vector} is null, null, {nearest}.share)"


def undecided(score: str, decision: Decision, content: str) -> str:
    """`content` in the rows that the main model decides, NULL in the others."""
    last = _number(nextafter(decision.high, -inf))
    return f"if(coalesce({score} not between {_number(decision.low)} and {last}, false), null, {content})"


def chosen(score: str, decision: Decision, answer: str) -> str:
    """True or false by the score, or the main model's answer between."""
    accepted = f"when {score} >= {_number(decision.high)} then true"
    rejected = f"when {score} < {_number(decision.low)} then false"
    return f"(case {accepted} {rejected} else {answer} end)"


def _number(value: float) -> str:
    """A threshold; beyond every score where there is none."""
    return f"{max(-1e308, min(1e308, value)):.17g}D"
