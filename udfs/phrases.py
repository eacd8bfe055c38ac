# ruff: noqa: RUF001 - other scripts' marks are meant
"""What an answer says when it stands by itself, without what models write around it.

Fences, bold, quotes, `Label:`, a dot at the end and list marks are taken away, one after the other; a word within a
sentence is never taken out of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_PAIRS = [
    ("**", "**"), ("__", "__"), ("*", "*"), ("_", "_"), ("`", "`"), ("~~", "~~"), ('"', '"'), ("'", "'"), ("“", "”"),
    ("‘", "’"), ("„", "“"), ("「", "」"), ("『", "』"), ("《", "》"), ("【", "】"), ("«", "»"), ("(", ")"),
    ("（", "）"), ("[", "]"), ("<", ">"), ("$", "$"), ("\\boxed{", "}"),
]  # fmt: skip
_MARK = re.compile(r"(?:#{1,6}|[-*•·–]|>|\d{1,2}[.)])\s+")
_ENDS = ".!?,;:。！？，；：、…"
ITEM = re.compile(r"(?:[-*•·–]|\d{1,3}[.)])\s+(.+)")
_TAG = re.compile(r"<(\w+)>(.*)</\1>", re.DOTALL)
_NOUN = (
    r"(?:answer|labels?|category|categories|class|classification|sentiment|result|output|response|value"
    r"|verdict|prediction|tag|topic)"
)
_EN = rf"(?:(?:the|my|your|final|correct|best|predicted|overall|main|text's|text’s)\s+){{0,3}}{_NOUN}"
_ZH = r"(?:最终|正确)?(?:答案|回答|标签|类别|分类|结果|情感|结论)"
# `Label: x`, `The answer is x`, `答案是x`; a single word before a colon may be in any language.
_PREFIX = re.compile(
    rf"(?:\**(?P<named>{_EN})\**\s*(?:(?:\bis\b|\bare\b)\s*[:：]?|[:：=])|\**(?P<chinese>{_ZH})\**\s*(?:[:：]|是|为)\s*[:：]?"
    rf"|\**(?P<word>[^\W\d_]+)\**\s*[:：])\**\s*(?P<rest>\S.*)",
    re.IGNORECASE | re.DOTALL,
)
_NEGATIONS = frozenset(
    re.findall(r"\S+", "not no never neither nor non without except isn't nicht kein pas jamais nunca 不 不是 非 没有")
)
_DENIES = re.compile("[不非没無无否]")
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_INLINE_FENCE = re.compile(r"\s*```+(?:\w+\s+)?(.*?)```+\s*", re.DOTALL)


def fenced(text: str) -> list[str]:
    """The blocks of code in a text."""
    if "```" not in text and "~~~" not in text:
        return []
    whole = _INLINE_FENCE.fullmatch(text)
    return [block for _, block in _FENCE.findall(text)] or ([whole[1]] if whole else [])


def peeled(text: str) -> Iterator[tuple[str, str]]:
    """One line as it is, then with less and less around it, and what stood before its colon so far."""
    before = ""
    text = text.strip()
    while text:
        yield text, before
        if (smaller := _smaller(text)) is not None:
            text = smaller.strip()
        elif match := _PREFIX.fullmatch(text):
            prefix = match["named"] or match["chinese"] or match["word"]
            if before or prefix.casefold() in _NEGATIONS or _DENIES.search(prefix):
                return
            before, text = prefix, match["rest"].strip()
        else:
            return


def _smaller(text: str) -> str | None:
    for opens, closes in _PAIRS:
        inside = text[len(opens) : -len(closes)]
        around = len(text) > len(opens) + len(closes) and text.startswith(opens) and text.endswith(closes)
        if around and opens not in inside and closes not in inside:
            return inside
    if match := _TAG.fullmatch(text):
        return match[2]
    if text[-1] in _ENDS and len(text) > 1:
        return text[:-1]
    if (match := _MARK.match(text)) and match.end() < len(text):
        return text[match.end() :]
    return None


def lines(text: str) -> list[tuple[str, bool]]:
    """The lines of a text, and whether one may be the answer by itself: the first, or the last after an empty line."""
    given = [line.strip() for line in text.strip().splitlines()]
    said = [(at, line) for at, line in enumerate(given) if line]
    last = len(given) - 1
    return [(line, at == 0 or (at == last and not given[at - 1])) for at, line in said]


def has_prefix(line: str) -> bool:
    """Whether a line says that it is the answer, as `Label: x` does."""
    match = _PREFIX.fullmatch(line)
    return match is not None and bool(match["named"] or match["chinese"])


def folded(text: str) -> str:
    """A text for comparison: without case, widths and repeated spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def core(text: str) -> str:
    """The same, also without quotes and dots around it, and with `_`, `-` and `/` between words as spaces."""
    text = folded(text)
    return re.sub(r"(?<=[^\W_])[-_/\s]+(?=[^\W_])", " ", text.strip(_AROUND)) or text


_AROUND = _ENDS + " \"'`“”‘’「」『』"
