"""Many rows in one prompt, when `llm.rows_per_prompt` allows it: what they share is then read, and paid for, once.

The model is asked for a JSON array with an answer to each row. What does not come back as that, because the prompt was
too long, the model lost count, or it wrote something else, is asked again in halves, at last row by row.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson

from .requests import Choice, Message

Ask = Callable[[list[list[Message]], bytes], Awaitable[list[Choice]]]
"""Asks the model: conversations and the other fields of the request to a choice for each conversation."""

# Fields that mean one answer.
_ALONE = frozenset({"stop", "stop_token_ids", "response_format", "min_tokens", "ignore_eos", "task", "voice", "size"})
_OVERHEAD = 8  # tokens of an array around an answer


async def choices(ask: Ask, conversations: Sequence[list[Message]], params: bytes, rows: int) -> list[Choice]:
    """A choice for each conversation, up to `rows` of which share a prompt."""
    found: dict[int, Choice] = {}
    fields = orjson.loads(params)
    waiting = [[place] for place in range(len(conversations))]
    if not fields.keys() & _ALONE:
        waiting = _groups(conversations, rows)
    while waiting:
        # Requests with the same fields travel together: an answer to more rows may have more tokens.
        by_size: defaultdict[int, list[list[int]]] = defaultdict(list)
        for places in waiting:
            by_size[len(places)].append(places)
        waiting = []
        asked = [
            ask([_packed([conversations[place] for place in places]) for places in groups], _params(fields, size))
            for size, groups in by_size.items()
        ]
        for groups, answered in zip(by_size.values(), await asyncio.gather(*asked), strict=True):
            for places, choice in zip(groups, answered, strict=True):
                if len(places) == 1:
                    found[places[0]] = choice
                elif (texts := _unpacked(choice, len(places))) is None:
                    half = len(places) // 2
                    waiting += [places[:half], places[half:]]
                else:
                    found |= {
                        place: _part(choice, text, len(places)) for place, text in zip(places, texts, strict=True)
                    }
    return [found[place] for place in range(len(conversations))]


def _groups(conversations: Sequence[list[Message]], rows: int) -> list[list[int]]:
    """Places of conversations that differ in their last text alone, at most `rows` together."""
    by_head: defaultdict[bytes, list[int]] = defaultdict(list)
    for place, messages in enumerate(conversations):
        alike = messages if isinstance(messages[-1]["content"], list) else messages[:-1]  # images and sounds go alone
        by_head[orjson.dumps(alike)].append(place)
    return [places[start : start + rows] for places in by_head.values() for start in range(0, len(places), rows)]


def _packed(conversations: list[list[Message]]) -> list[Message]:
    """One conversation for all; what their texts begin with stands once."""
    if len(conversations) == 1:
        return conversations[0]
    texts = [str(messages[-1]["content"]) for messages in conversations]
    first, last = min(texts), max(texts)  # what these two share, all do
    alike = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    head = first[: first.rfind("\n", 0, alike) + 1]  # whole lines
    parts = orjson.dumps([text[len(head) :] for text in texts]).decode()
    text = (
        f"Below is a JSON array of {len(texts)} texts. Each is a task of its own"
        + (f" that begins with:\n{head}\n" if head else ".\n")
        + f"{parts}\nReply with a JSON array of {len(texts)} strings, the answer to each in order, and nothing else."
    )
    return [*conversations[0][:-1], {"role": "user", "content": text}]


def _params(fields: dict[str, Any], rows: int) -> bytes:
    if rows > 1 and fields.get("max_tokens"):
        fields = fields | {"max_tokens": rows * (fields["max_tokens"] + _OVERHEAD)}
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def _unpacked(choice: Choice, rows: int) -> list[str] | None:
    """The answers, if there is one for each row."""
    text = "" if "error" in choice else choice["message"].get("content") or ""
    try:
        answers = orjson.loads(text[text.index("[") : text.rindex("]") + 1])
    except ValueError:  # no brackets, or no JSON between them
        return None
    if not isinstance(answers, list) or len(answers) != rows or not all(isinstance(one, str) for one in answers):
        return None
    return answers


def _part(choice: Choice, text: str, rows: int) -> Choice:
    """One row's part of a choice, with its share of the tokens."""
    counts = choice.get("usage") or {}
    usage = {key: round(count / rows) for key, count in counts.items() if isinstance(count, int)}
    return {**choice, "message": {"role": "assistant", "content": text}, "usage": usage}
