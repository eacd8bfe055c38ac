"""Several texts in one prompt, and the order in which the answer puts them; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PROMPT = """Order the {count} numbered texts below by this question: {criterion}
First the text that it fits most, last the text that it fits least.

{texts}

Answer with one JSON array of all {count} numbers, each once, in this order, and nothing else. \
Numbers of texts that it fits alike stand in an array of their own, as in [2, [1, 3]]."""
_START = re.compile(r"\[\s*[\[\d\"']")
_PARTS = re.compile(r"[\[\]]|\d+")
_SIGNS = re.compile(r"\[?\d+\]?(?:\s*[>=]\s*\[?\d+\]?)+")


def prompt(criterion: str, texts: Sequence[str]) -> str:
    """Asks for the order of `texts`, which are numbered from 1."""
    numbered = "\n".join(f"[{number}] {' '.join(text.split())}" for number, text in enumerate(texts, 1))
    return _PROMPT.format(count=len(texts), criterion=criterion.strip(), texts=numbered)


def positions(answer: str, count: int) -> dict[int, int]:
    """The position of each text, by its index from 0; texts that are alike share one. 0 is the first.

    A text is absent if the answer leaves it out, or names it at two positions. Other numbers are passed over.
    """
    found = max(_orders(answer), key=lambda order: len({number for group in order for number in group}), default=[])
    known: dict[int, int] = {}
    twice: set[int] = set()
    for position, group in enumerate(found):
        for number in group:
            if known.setdefault(number - 1, position) != position:
                twice.add(number - 1)
    return {index: position for index, position in known.items() if 0 <= index < count and index not in twice}


def _orders(answer: str) -> list[list[list[int]]]:
    """Each order in the answer, as groups of numbers: arrays, also an array that is cut, or `2 > 1 = 3`."""
    orders, at = [], 0
    while start := _START.search(answer, at):
        order, at = _array(answer, start.start())
        orders.append(order)
    chains = [[re.findall(r"\d+", group) for group in signs[0].split(">")] for signs in _SIGNS.finditer(answer)]
    return orders + [[[int(one) for one in group] for group in chain] for chain in chains]


def _array(answer: str, start: int) -> tuple[list[list[int]], int]:
    """The array that begins at `start`, and where it ends."""
    groups: list[list[int]] = []
    depth, end = 0, start
    for part in _PARTS.finditer(answer, start):
        end = part.end()
        if part[0] == "[":
            depth += 1
            if depth == 2:
                groups.append([])
        elif part[0] == "]":
            depth -= 1
            if not depth:
                return [group for group in groups if group], end
        elif depth == 1:
            groups.append([int(part[0])])
        else:
            groups[-1].append(int(part[0]))
    if answer[-1:].isdigit() and groups and groups[-1]:  # the number may go on
        groups[-1].pop()
    return [group for group in groups if group], max(end, start + 1)


def listed(prompt: str) -> list[str]:
    """The texts that a prompt lists."""
    return re.findall(r"^\[\d+\] (.*)$", prompt, re.MULTILINE)
