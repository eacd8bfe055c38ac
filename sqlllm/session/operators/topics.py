"""Texts in clusters by their vectors, each with a name that a model gives and the texts that stand for it; pure."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sqlllm.errors import PackageError
from sqlllm.udfs.requests import RequestError

from . import numbered
from .blocks import Ask
from .neighbours import Vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPRESENTATIVES = 5
"""Texts that stand for a cluster."""

_LARGEST = 12  # clusters that are tried where nobody says how many
_SAMPLED = 2_000  # texts by which such numbers are compared
_SEED = 17
_TRIES = 3
_NAME = 12  # tokens of a name


@dataclass
class Topics:
    """For each text its cluster, numbered from 0 by size, and how near it is to the cluster's centre (1: there).

    `representatives` are the numbers of the texts that stand for each cluster, nearest first. A cluster whose name the
    model did not give has the name None, with the reason in `failed`.
    """

    clusters: list[int]
    near: list[float]
    representatives: list[list[int]]
    names: list[str | None]
    failed: dict[int, RequestError] = field(default_factory=dict)


def topics(texts: Sequence[str], counts: Sequence[int], vectors: Vectors, k: int) -> Topics:
    """Clusters of distinct `texts`, of which each stands in `counts` rows; their names are left out.

    `k` is the number of clusters, at most one for each text; 0: the number that separates them best.
    """
    order = sorted(range(len(texts)), key=lambda row: texts[row])
    weights = np.asarray([counts[row] for row in order], np.float64)
    placed = vectors[order]
    labels, centres = _split(placed, weights, k or _best(placed, weights))
    sizes = np.bincount(labels, weights=weights, minlength=len(centres))
    first = [int(np.flatnonzero(labels == one)[0]) if sizes[one] else len(texts) for one in range(len(centres))]
    by_size = sorted((one for one in range(len(centres)) if sizes[one]), key=lambda one: (-sizes[one], first[one]))
    lengths = np.maximum(np.linalg.norm(centres, axis=1), 1e-12)
    near = np.asarray(placed @ (centres / lengths[:, None]).T)[np.arange(len(order)), labels]
    found = Topics([0] * len(texts), [0.0] * len(texts), [], [None] * len(by_size))
    for number, one in enumerate(by_size):
        rows = [int(row) for row in np.flatnonzero(labels == one)]
        for row in rows:
            found.clusters[order[row]], found.near[order[row]] = number, round(float(near[row]), 5)
        rows.sort(key=lambda row: (-round(float(near[row]), 5), row))
        found.representatives.append([order[row] for row in rows[:REPRESENTATIVES]])
    return found


def _split(
    vectors: Vectors, weights: NDArray[np.float64], k: int, starts: int = 10
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The cluster of each vector, and the centres of the clusters."""
    model = _package("cluster").KMeans(min(k, vectors.shape[0]), n_init=starts, random_state=_SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that equal vectors leave clusters empty, which are dropped
        return model.fit_predict(vectors, sample_weight=weights), model.cluster_centers_


def _best(vectors: Vectors, weights: NDArray[np.float64]) -> int:
    """The number of clusters with the best mean silhouette."""
    count = vectors.shape[0]
    if count < 4:
        return 1
    scores: dict[int, float] = {}
    for k in range(2, min(_LARGEST, count - 1) + 1):
        labels, _ = _split(vectors, weights, k, 3)
        if len(set(labels)) > 1:
            score = _package("metrics").silhouette_score
            scores[k] = round(score(vectors, labels, sample_size=min(count, _SAMPLED), random_state=_SEED), 4)
    return max(scores, key=lambda k: (scores[k], -k)) if scores else 1


def _package(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"sklearn.{name}")
    except ModuleNotFoundError:
        raise PackageError("clusters need scikit-learn", cure='pip install "sqlllm[semantic]"') from None


def name(
    found: Topics, texts: Sequence[str], ask: Ask, tokens: Callable[[str], int], context: int, about: str = ""
) -> None:
    """Have the model name the clusters of `found`, as many in a prompt as fit; `about` is what the topics are about."""
    waiting, tries = list(range(len(found.names))), 0
    while waiting and tries < _TRIES:
        groups = _packed(found, texts, waiting, tokens, context)
        taken = [one for one in found.names if one]
        replies = ask([prompt(group, about, taken) for group in groups])
        for group, reply in zip(groups, replies, strict=True):
            if isinstance(reply, RequestError):
                found.failed |= dict.fromkeys(group, reply)
                continue
            for number, said in numbered.named(reply, group).items():
                if said not in found.names:
                    found.names[number] = said
        waiting, tries = [number for number in waiting if found.names[number] is None], tries + 1
    left_out = RequestError("unreadable_answer", "the answer has no name for the cluster")
    found.failed = {number: found.failed.get(number, left_out) for number in waiting}


def prompt(groups: dict[int, list[str]], about: str = "", taken: Sequence[str] = ()) -> str:
    """The prompt that asks for the names of some clusters, by number from 0, with the texts that stand for each."""
    lines = ["Each group holds texts of one topic." + (f" The topics are about: {about}" if about else "")]
    for number, texts in groups.items():
        lines += [f"\nGroup C{number + 1}", *(f"- {text}" for text in texts)]
    if taken:
        lines += ["\nNames of other groups, not to be used again: " + "; ".join(taken)]
    return "\n".join([*lines, "", _FORM.format(first=min(groups) + 1)])


_FORM = (
    "Give each group a name of at most five words that says what its texts have in common and tells it from"
    " the others. Write one line for each group, and after the last line END. For example:\nC{first}: its name\nEND"
)


def _packed(
    found: Topics, texts: Sequence[str], numbers: Sequence[int], tokens: Callable[[str], int], context: int
) -> list[dict[int, list[str]]]:
    """The clusters in prompts, with the texts that stand for them; long texts are cut so that the prompts fit."""
    room = int(context * 0.8) - tokens(prompt({0: []})) - 64
    longest = max(32, min(2_000, 2 * room // REPRESENTATIVES))  # characters
    packed: list[dict[int, list[str]]] = []
    used = room
    for number in numbers:
        shown = [" ".join(texts[row].split())[:longest] for row in found.representatives[number]]
        size = sum(map(tokens, shown)) + _NAME + 8
        if used + size > room or not packed:
            packed.append({})
            used = 0
        packed[-1][number] = shown
        used += size
    return packed
