"""The order in which a task sends its requests: those with the longest common prefix one after the other.

A model's server keeps the start of the prompts that it has seen last. Sorted conversations walk the tree of their
prefixes once, so no prefix is computed twice in a cache that holds one path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def prefix_order(conversations: Sequence[Sequence[dict[str, Any]]]) -> list[int]:
    """Their places, sorted by what the model reads: the texts of the messages, in turn."""
    texts = [[str(message.get("content")) for message in messages] for messages in conversations]
    return sorted(range(len(texts)), key=texts.__getitem__)
