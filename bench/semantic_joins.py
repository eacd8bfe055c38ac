"""What joins, clusters and entities cost, for `bench.semantic`: made data, and an oracle of stated error."""

from __future__ import annotations

import random
from typing import Any

from sqlllm.session.operators import topics
from sqlllm.session.operators.blocks import Block, Sides
from sqlllm.session.operators.entities import Limits, entities
from sqlllm.session.operators.matching import Problem, match
from sqlllm.session.operators.neighbours import spelled
from tests.session.oracles import Oracle, companies

CONTEXT = 8192
_MAKERS = ("Acme", "Sony", "Bosch", "Dell", "Apple", "Philips", "Braun", "Miele")
_THINGS = ("phone", "drill", "laptop", "toaster", "camera", "speaker", "kettle", "monitor")


def tokens(text: str) -> int:
    """Four characters a token, as the oracle counts."""
    return len(text) // 4 + 1


def _f1(found: set[Any], right: set[Any]) -> float:
    return round(2 * len(found & right) / max(1, len(found) + len(right)), 3)


def join(
    rows: int = 60, alike: int = 48, error: float = 0.0, recall: float = 1.0, method: str = "auto"
) -> dict[str, Any]:
    """Products of two shops, `alike` of them the same in another spelling. The naive way is a call for each pair.

    `pairs` are those that the oracle was asked about, one in a prompt or many.
    """
    chance = random.Random(1)

    def product() -> str:
        return f"{chance.choice(_MAKERS)} {chance.choice(_THINGS)} {chance.randrange(10**5)}"

    lefts = list({product(): None for _ in range(rows + 99)})[:rows]
    rights = [f"{text.upper().replace(' ', '-')} new" for text in lefts[:alike]]
    rights += [product() for _ in range(rows - alike)]
    chance.shuffle(rights)
    right = {(a, b) for a, one in enumerate(lefts) for b, other in enumerate(rights) if _same(one, other)}
    statement = "{L} is the same product as {R}"
    sides = Sides(lefts, rights, statement, lambda a, b: f"Is <{lefts[a]}> the same product as <{rights[b]}>?")
    whole = [Block(tuple(range(rows)), tuple(range(rows)))]
    oracle = Oracle(_same, error=error)
    found = match(Problem(sides, whole, tokens, CONTEXT, recall), oracle.ask, spelled, method)
    return {
        "calls": len(oracle.prompts),
        "tokens": oracle.tokens,
        "f1": _f1(found.pairs, right),
        "naive_calls": rows * rows,
        "pairs": oracle.pairs,
        "recall": round(len(found.pairs & right) / len(right), 3),
    }


def _same(one: str, other: str) -> bool:
    return _plain(one) == _plain(other)


def _plain(text: str) -> str:
    return text.lower().replace("-", " ").removesuffix(" new")


def dedup(names: int = 100, error: float = 0.0) -> dict[str, Any]:
    """Three spellings of each name. The naive way is a call for each record, which asks for its canonical name."""
    truth = companies(names)
    records = random.Random(1).sample(sorted(truth), len(truth))
    oracle = Oracle(lambda one, other: truth[one] == truth[other], error=error)
    found = entities(records, spelled(records), "{A} is the same company as {B}", Limits(tokens, CONTEXT), oracle.ask)
    pairs = [(one, other) for one in range(len(records)) for other in range(one)]
    said = {(one, other) for one, other in pairs if found.canonical[one] == found.canonical[other]}
    right = {(one, other) for one, other in pairs if truth[records[one]] == truth[records[other]]}
    return {
        "calls": len(oracle.prompts),
        "tokens": oracle.tokens,
        "f1": _f1(said, right),
        "naive_calls": len(records),
        "groups": len(set(found.canonical)),
    }


def cluster(rows: int = 600) -> dict[str, Any]:
    """Complaints about eight things, in clusters with names. The naive way is a call that labels each row."""
    chance = random.Random(2)
    topic = [chance.randrange(len(_THINGS)) for _ in range(rows)]
    texts = [f"the {_THINGS[one]} of order {chance.randrange(10**6)} is broken: {_THINGS[one]} dead" for one in topic]
    oracle = Oracle(_same)
    found = topics.topics(texts, [1] * rows, spelled(texts), len(_THINGS))
    topics.name(found, texts, oracle.ask, tokens, CONTEXT)
    pairs = [(one, other) for one in range(rows) for other in range(one)]
    said = {(one, other) for one, other in pairs if found.clusters[one] == found.clusters[other]}
    right = {(one, other) for one, other in pairs if topic[one] == topic[other]}
    return {"calls": len(oracle.prompts), "tokens": oracle.tokens, "f1": _f1(said, right), "naive_calls": rows}
