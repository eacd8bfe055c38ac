"""How many tokens a text has: by a model's own tokenizer, by an estimate, or by letters."""

from __future__ import annotations

import json
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

# A word of Western letters is as many tokens as it has fours; a sign, or a letter of other scripts, is one.
_PIECES = re.compile(r"[A-Za-z\u00c0-\u024f]{1,4}|\d{1,3}|[^\sA-Za-z\u00c0-\u024f\d]")
_PART = re.compile(r".{1,20000}(?:\n|\s|(?=.)|\Z)", re.DOTALL)  # of a text that is tokenized at once


class Counter:
    """Counts tokens, and finds where each of them is."""

    def __init__(self, tokenizer: str = "", *, letters: bool = False) -> None:
        """`tokenizer` is the text of a tokenizer.json; without it tokens are estimated, or are letters."""
        self._tokenizer: Any = _loaded(tokenizer) if tokenizer else None
        self._letters = letters
        self.count = lru_cache(maxsize=64)(self._count)
        """The number of tokens of a text, without those that a model puts around it."""

    def _count(self, text: str) -> int:
        if self._letters:
            return len(text)
        if self._tokenizer is None:
            return sum(1 for _ in _PIECES.finditer(text))
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def places(self, text: str) -> Iterator[tuple[int, int]]:
        """Where each token begins and ends, in characters; a letter of several tokens is as many of them."""
        if self._letters:
            yield from ((index, index + 1) for index in range(len(text)))
        elif self._tokenizer is None:
            yield from (match.span() for match in _PIECES.finditer(text))
        else:
            for part in _PART.finditer(text):
                at = part.start()
                for start, end in self._tokenizer.encode(part[0], add_special_tokens=False).offsets:
                    yield at + start, at + end

    def cut(self, text: str, most: int) -> str:
        """The first `most` tokens of `text`."""
        if most <= 0:
            return ""
        found = list(self.places(text))
        kept = text[: found[most - 1][1]] if len(found) > most else text
        while kept and self.count(kept) > most:
            kept = kept[:-1]
        return kept


class Places:
    """Where the tokens of one text are; the tokens of a part of it are counted without reading it again."""

    def __init__(self, text: str, counter: Counter) -> None:
        self.starts, self.ends = array("q"), array("q")
        for start, end in counter.places(text):
            self.starts.append(start)
            self.ends.append(end)

    def __len__(self) -> int:
        return len(self.starts)

    def count(self, start: int, end: int) -> int:
        """The tokens that begin in `text[start:end]`."""
        return bisect_left(self.starts, end) - bisect_left(self.starts, start)

    def after(self, start: int, most: int) -> int | None:
        """Where the first `most` tokens from `start` end; None if there are no more than that."""
        last = bisect_left(self.starts, start) + most
        return self.ends[last - 1] if last < len(self.starts) else None

    def before(self, end: int, most: int) -> int:
        """Where the last `most` tokens before `end` begin."""
        first = bisect_left(self.starts, end) - most
        return self.starts[first] if 0 <= first < len(self.starts) else 0 if first < 0 else end


@lru_cache(maxsize=4)
def _loaded(tokenizer: str) -> Any:
    from tokenizers import Tokenizer

    found = Tokenizer.from_str(tokenizer)
    found.no_truncation()  # else no text has more tokens than the model reads
    found.no_padding()
    return found


def most_tokens(read: Callable[[str], str | None]) -> int | None:
    """How many tokens of a text a model reads, by the files of its folder; None if they do not say.

    `read` gives the text of a file of the folder, or None.
    """
    found = [
        _number(read("sentence_bert_config.json"), "max_seq_length"),
        _number(read("tokenizer_config.json"), "model_max_length"),
        _number(read("config.json"), "max_position_embeddings"),
    ]
    known = [one for one in found if one is not None and 0 < one < 10**7]  # a tokenizer without a limit has 10 ** 30
    return min(known) - 2 if known else None  # a sign at its start, and one at its end


def _number(text: str | None, key: str) -> int | None:
    try:
        value = json.loads(text or "{}").get(key)
    except (ValueError, AttributeError):
        return None
    return int(value) if isinstance(value, int | float) else None
