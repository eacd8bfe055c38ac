"""Which rows are near each other by their vectors, and how many neighbours hold the wanted share of matches; pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sqlllm.errors import PackageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Vectors = Any
"""A matrix with a row for each text, of NumPy or a sparse one of SciPy; rows have the length 1."""

Embed = Callable[[Sequence[str]], Vectors]

_CELLS = 16 * 2**20  # of a product that is held at once


def spelled(texts: Sequence[str]) -> Vectors:
    """Vectors by spelling: pieces of two to four characters of each word, rare ones counting more. No model is asked.

    Raises PackageError without scikit-learn.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ModuleNotFoundError:
        raise PackageError("neighbours by spelling need scikit-learn", cure='pip install "sqlllm[semantic]"') from None
    given = [text if text.strip() else "_" for text in texts]
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit_transform(given)


def unit(vectors: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    """The vectors with the length 1."""
    matrix = np.array(vectors, np.float32)
    matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    return matrix


def nearest(lefts: Vectors, rights: Vectors, width: int) -> dict[tuple[int, int], int]:
    """The pairs of which one row is among the `width` nearest of the other, with the better of the two ranks from 1.

    Rows of equal similarity are ranked by their numbers.
    """
    ranks: dict[tuple[int, int], int] = {}
    for one, other, swapped in ((lefts, rights, False), (rights, lefts, True)):
        for row, found in enumerate(_ranked(one, other, width)):
            for rank, near in enumerate(found, 1):
                pair = (int(near), row) if swapped else (row, int(near))
                ranks[pair] = min(rank, ranks.get(pair, rank))
    return ranks


def among(vectors: Vectors, width: int) -> dict[tuple[int, int], int]:
    """The same among the rows of one table: pairs (i, j) with i < j."""
    ranks: dict[tuple[int, int], int] = {}
    for row, found in enumerate(_ranked(vectors, vectors, width + 1)):
        for rank, near in enumerate([int(one) for one in found if one != row][:width], 1):
            pair = (min(row, near), max(row, near))
            ranks[pair] = min(rank, ranks.get(pair, rank))
    return ranks


def similarities(vectors: Vectors, pairs: Sequence[tuple[int, int]]) -> list[float]:
    """How near the rows of each pair are: the cosine, rounded, as sums differ from processor to processor."""
    if not pairs:
        return []
    ones, others = (vectors[[pair[side] for pair in pairs]] for side in (0, 1))
    product = ones.multiply(others) if hasattr(ones, "multiply") else ones * others
    return [round(float(one), 5) for one in np.asarray(product.sum(axis=1)).ravel()]


def _ranked(lefts: Vectors, rights: Vectors, width: int) -> list[NDArray[np.int64]]:
    """For each left row its nearest right rows, nearest first."""
    found: list[NDArray[np.int64]] = []
    width = min(width, rights.shape[0])
    rows = max(1, _CELLS // max(1, rights.shape[0]))
    for start in range(0, lefts.shape[0], rows):
        product = lefts[start : start + rows] @ rights.T
        # Rounded, so that the order does not depend on how a processor adds up.
        near = np.round(np.asarray(product.todense() if hasattr(product, "todense") else product, np.float64), 5)
        for row in near:
            border = np.partition(row, len(row) - width)[len(row) - width] if width < len(row) else -math.inf
            places = np.flatnonzero(row >= border)
            found.append(places[np.argsort(-row[places], kind="stable")][:width])
    return found


def enough(ranks: Sequence[int], width: int, recall: float, confidence: float) -> int | None:
    """How many neighbours hold the share `recall` of all matches, by the ranks of the matches of a sample.

    The share among the `width` nearest is at least `recall` with the probability `confidence`. The numbers are tried
    from `width` down to the first that the sample does not support, so that one try does not spoil another's
    probability. None if the sample has too few matches.
    """
    found = None
    for count in range(width, 0, -1):
        missed = sum(rank > count for rank in ranks)
        if _chance(missed, len(ranks), 1 - recall) > 1 - confidence:
            break
        found = count
    return found


def _chance(most: int, draws: int, share: float) -> float:
    """The probability of at most `most` hits in `draws` draws of a chance of `share`."""
    return sum(math.comb(draws, hits) * share**hits * (1 - share) ** (draws - hits) for hits in range(most + 1))


def fewest(recall: float, confidence: float) -> int:
    """The matches that a sample needs so that `enough` can give a number, all of them near."""
    return math.ceil(math.log(1 - confidence) / math.log(recall))
