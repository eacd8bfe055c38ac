"""What an answer from sources cites: each citation is bound to the source it names, or is taken out and reported."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # PySpark evaluates the hints of the function, so this import is needed at run time

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

UNKNOWN = "NOT_IN_DOCUMENTS"
"""What a model is to answer if the sources do not say."""
NAME = "sqlllm_cited"
RETURNS = (
    "struct<answer: string, answered: boolean,"
    " sources: array<struct<number: int, id: string, document: string, page: int, quote: string>>,"
    " removed: array<string>, query: string, error: string, conversation: array<string>>"
)
_SOURCE = pa.struct(
    [
        ("number", pa.int32()),
        ("id", pa.string()),
        ("document", pa.string()),
        ("page", pa.int32()),
        ("quote", pa.string()),
    ]
)
_ARROW = pa.struct(
    [
        ("answer", pa.string()), ("answered", pa.bool_()), ("sources", pa.list_(_SOURCE)),
        ("removed", pa.list_(pa.string())), ("query", pa.string()), ("error", pa.string()),
        ("conversation", pa.list_(pa.string())),
    ]
)  # fmt: skip
_REFUSALS = {False: "The documents do not say.", True: "文档中没有提到。"}
# [1], [1, 3], [1-3] and the brackets that models use for Chinese, one after the other; not within code.
_NUMBERS = r"\d+(?:\s*[,，、–-]\s*\d+)*"  # noqa: RUF001
_CITED = re.compile(rf"(?:[ \t]*(?:\[\s*{_NUMBERS}\s*\]|【\s*{_NUMBERS}\s*】))+")
_CODE = re.compile(r"(`+)(?:(?!\1).)+\1", re.DOTALL)
_ENDS = re.compile(r"(?<=[。！？!?])\s*|(?<=[.])\s+|\n+")  # noqa: RUF001
_WORDS = re.compile(r"[\u3400-\u9fff]|\w+")
_WRAPPED = re.compile(r"(?<!\n)(?:(?<=([\u3400-\u9fff]))|(?<=[^\u3400-\u9fff|]))\n(?![\n|#>*-])")  # a line that goes on
_MOST = 300  # letters of a quote
Source = Mapping[str, Any]
"""`id`, `document`, `page` and `text` of a chunk."""


def cited(
    answer: str | None, error: str | None, question: str, query: str, sources: Sequence[Source]
) -> dict[str, Any]:
    """The row of an answer, by RETURNS: its text with the citations that hold, and what they cite.

    `answered` is false if the sources do not say. A citation of a source that was not given is in `removed`.
    """
    removed: list[str] = []
    used: dict[int, list[str]] = {}  # the sentences that cite each source
    text = answer or ""
    refused = not text.strip() or UNKNOWN in text
    if refused:
        text = _REFUSALS[bool(re.search(r"[\u3400-\u9fff]", question))]
    else:
        text = "".join(_checked(sentence, len(sources), used, removed) for sentence in _sentences(text)).strip()
    found = [
        {
            "number": number,
            "id": sources[number - 1]["id"],
            "document": sources[number - 1]["document"],
            "page": sources[number - 1]["page"],
            "quote": quote(str(sources[number - 1]["text"] or ""), " ".join(used[number])),
        }
        for number in sorted(used)
    ]
    said = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
    return {
        "answer": None if error else text,
        "answered": not refused and not error,
        "sources": [] if error else found,
        "removed": removed,
        "query": query,
        "error": error,
        "conversation": [json.dumps({"output": text, "history": said}, ensure_ascii=False)] if not error else None,
    }


def quote(text: str, said: str) -> str:
    """The sentence of a source that shares most words with what was said of it, cut to 300 letters."""
    words = set(_words(said))
    whole = _WRAPPED.sub(lambda match: "" if match[1] else " ", text)
    best = max(filter(str.strip, _sentences(whole)), key=lambda one: (_shared(one, words), -len(one)), default="")
    best = best.strip()
    return best if len(best) <= _MOST else best[: _MOST - 1].rstrip() + "…"


def _shared(sentence: str, words: set[str]) -> float:
    own = set(_words(sentence))
    return len(own & words) / math.sqrt(len(own) + 5)


def _words(text: str) -> list[str]:
    return [one.lower() for one in _WORDS.findall(text)]


def _sentences(text: str) -> Iterator[str]:
    """The sentences, with the blanks after them: together they are the text. A citation belongs to what it follows."""
    start = 0
    for end in _ENDS.finditer(text):
        if end.end() > start and not _CITED.match(text, end.end()):
            yield text[start : end.end()]
            start = end.end()
    if text[start:]:
        yield text[start:]


def _checked(sentence: str, count: int, used: dict[int, list[str]], removed: list[str]) -> str:
    plain = _CITED.sub("", sentence).strip()

    def keep(match: re.Match[str]) -> str:
        numbers = [number for listed in re.findall(_NUMBERS, match[0]) for number in _numbers(listed)]
        known = [number for number in dict.fromkeys(numbers) if 1 <= number <= count]
        for number in known:
            used.setdefault(number, []).append(plain)
        removed.extend(f"[{number}]" for number in numbers if number not in known)
        blank = " " if match[0][:1].isspace() and known else ""
        return blank + "".join(f"[{number}]" for number in known)

    pieces, start = [], 0
    for code in _CODE.finditer(sentence):
        pieces += [_CITED.sub(keep, sentence[start : code.start()]), code[0]]
        start = code.end()
    return "".join([*pieces, _CITED.sub(keep, sentence[start:])])


def _numbers(listed: str) -> list[int]:
    found: list[int] = []
    for part in re.split(r"\s*[,，、]\s*", listed):  # noqa: RUF001
        first, *last = (int(one[:9]) for one in re.split(r"\s*[–-]\s*", part))  # noqa: RUF001
        found += range(first, last[0] + 1) if last and first <= last[0] < first + 50 else [first, *last]
    return found


def register(spark: SparkSession) -> None:
    """Make NAME a function of SQL: a model's answer, question, query and sources to a row."""
    from pyspark.sql.pandas.functions import arrow_udf

    def call(answers: pa.Array, questions: pa.Array, queries: pa.Array, sources: pa.Array) -> pa.Array:
        rows = zip(*(one.to_pylist() for one in (answers, questions, queries, sources)), strict=True)
        made = [
            None if question is None else cited(*_said(answer), question, query or question, found or [])
            for answer, question, query, found in rows
        ]
        return pa.array(made, _ARROW)

    spark.udf.register(NAME, arrow_udf(call, RETURNS))  # type: ignore[call-overload]


def _said(answer: Sequence[str | None] | None) -> tuple[str | None, str | None]:
    """The text of a model's answer, and its error."""
    told = json.loads(answer[0]) if answer and answer[0] else {}
    error = told.get("error")
    return told.get("output"), f"{error['kind']}: {error['message']}" if error else None
