"""The thoughts of a model that reasons in its answer, kept apart from what it answers."""

from __future__ import annotations

import re

_TAGS = r"think|thinking|thought|thoughts|seed:think"
# What opens and what closes a thought; a mark in backquotes is spoken of, not used.
_MARKS = [
    (rf"(?<!`)<({_TAGS})>(?!`)", rf"(?<!`)</(?:{_TAGS})>(?!`)"),
    (r"\[THINK\]", r"\[/THINK\]"),  # Magistral
    ("◁think▷", "◁/think▷"),  # Kimi
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),  # Command A
    (r"<\|channel\|>analysis<\|message\|>", r"<\|end\|>|<\|start\|>|<\|channel\|>(?=final)"),  # gpt-oss
]
_FINAL = re.compile(
    r"<\|start\|>assistant|<\|channel\|>final<\|message\|>|final<\|message\|>|<\|START_RESPONSE\|>|<\|END_RESPONSE\|>|<\|return\|>|<\|end\|>"
)
_MAYBE = re.compile(r"</?(?:think|thought|seed:)|THINK|think▷|<\|channel", re.IGNORECASE)
_PAIRS = [(re.compile(opens, re.IGNORECASE), re.compile(closes, re.IGNORECASE)) for opens, closes in _MARKS]
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)


def split(text: str) -> tuple[str, str]:
    """The answer in `text`, and the thoughts in it, joined by an empty line; a thought may lack either of its ends.

    A text without thoughts is given back as it is. A block of code is never taken for a thought.
    """
    if not _MAYBE.search(text):
        return text, ""
    thoughts: list[str] = []
    for opens, closes in _PAIRS:
        text = _without(text, opens, closes, thoughts)
    if not thoughts:
        return text, ""
    return _FINAL.sub("", text).strip(), "\n\n".join(filter(None, (thought.strip() for thought in thoughts)))


def _without(text: str, opens: re.Pattern[str], closes: re.Pattern[str], thoughts: list[str]) -> str:
    """`text` without the thoughts between two marks, which are added to `thoughts`."""
    kept, done = [], 0
    code = [match.span() for match in _CODE.finditer(text)]

    def inside(at: int) -> int:
        """The end of the code around an offset; 0 if there is none."""
        return next((end for start, end in code if start < at < end), 0)

    first = closes.search(text)
    opening = opens.search(text)
    # A chat template may have written the opening mark into the prompt.
    if first and not inside(first.start()) and (opening is None or first.start() < opening.start()):
        thoughts.append(text[: first.start()])
        done = first.end()
    while match := opens.search(text, done):
        if after := inside(match.start()):
            kept.append(text[done:after])
            done = after
            continue
        closing = closes.search(text, match.end())
        if closing is None and "".join((*kept, text[done : match.start()])).strip():
            break  # a mark in the middle of an answer that nothing closes is a part of the answer
        kept.append(text[done : match.start()])
        thoughts.append(text[match.end() : closing.start() if closing else None])
        done = closing.end() if closing else len(text)
    return "".join((*kept, text[done:]))
