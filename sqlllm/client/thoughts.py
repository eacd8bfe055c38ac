"""Thoughts of a model that writes them into its answer, between `<think>` and `</think>` at its beginning."""

from __future__ import annotations

_OPEN, _CLOSE = "<think>", "</think>"


class Thoughts:
    """Splits a text that arrives in pieces into the answer and the thoughts before it."""

    def __init__(self) -> None:
        self._held = ""  # may yet become a tag
        self._state = "start"  # then `inside`, `start` again after the closing tag, and `answer`
        self._again = False  # thoughts were read: the space around the next tag or the answer goes

    def feed(self, piece: str) -> tuple[str, str]:
        """The answer's and the thoughts' share of `piece`."""
        if self._state == "answer":
            return piece, ""
        answer, thoughts = "", ""
        self._held += piece
        while self._held and self._state != "answer":
            if self._state == "start":
                text = self._held.lstrip()
                if text.startswith(_OPEN):
                    self._state, self._held = "inside", text.removeprefix(_OPEN)
                elif _OPEN.startswith(text):
                    break
                else:
                    self._state = "answer"
                    answer += text if self._again else self._held
                    self._held = ""
            else:
                inside, closed, rest = self._held.partition(_CLOSE)
                if closed:
                    self._state, self._held, self._again = "start", rest, True
                    thoughts += inside
                else:
                    kept = _overlap(self._held)
                    thoughts += self._held[: len(self._held) - kept]
                    self._held = self._held[len(self._held) - kept :]
                    break
        return answer, thoughts

    def close(self) -> tuple[str, str]:
        """What is left at the end of the text."""
        held, self._held = self._held, ""
        if self._state == "inside":
            return "", held
        return held.lstrip() if self._again else held, ""


def _overlap(text: str) -> int:
    """How many characters at the end of `text` may begin the closing tag."""
    return next((size for size in range(len(_CLOSE) - 1, 0, -1) if text.endswith(_CLOSE[:size])), 0)


def split(text: str) -> tuple[str, str]:
    """The answer in a whole text, and the thoughts before it."""
    if "<think>" not in text:
        return text, ""
    reader = Thoughts()
    first, last = reader.feed(text), reader.close()
    return first[0] + last[0], (first[1] + last[1]).strip()
