"""Citations of an answer: bound to their sources, or removed and reported."""

from __future__ import annotations

import pytest

from sqlllm.udfs.citations import UNKNOWN, cited, quote

SOURCES = [
    {"id": f"a.pdf/{number}", "document": "a.pdf", "page": number, "text": text}
    for number, text in enumerate(
        [
            "Refunds take 14 days. Write to us first.",
            "Shipping is free. It takes a week.",
            "退款需要十四天。请先联系我们。",
            "None.",
        ],
        1,
    )
]


def answered(text: str | None, question: str = "How long?") -> dict[str, object]:
    return cited(text, None, question, question, SOURCES)


@pytest.mark.parametrize(
    ("said", "text", "numbers", "removed"),
    [
        ("It takes 14 days [1][7].", "It takes 14 days [1].", [1], ["[7]"]),
        ("It takes 14 days [1, 2].", "It takes 14 days [1][2].", [1, 2], []),
        ("It takes 14 days [1-2].", "It takes 14 days [1][2].", [1, 2], []),
        ("It takes 14 days. [1] Shipping is free [2].", "It takes 14 days. [1] Shipping is free [2].", [1, 2], []),
        ("It takes 14 days [0] [5].", "It takes 14 days.", [], ["[0]", "[5]"]),
        ("需要十四天【3】。", "需要十四天[3]。", [3], []),
        ("The first is `x[9]` in code[2].", "The first is `x[9]` in code[2].", [2], []),
        ("No citation at all.", "No citation at all.", [], []),
    ],
)
def test_a_citation_is_kept_if_its_source_was_given(
    said: str, text: str, numbers: list[int], removed: list[str]
) -> None:
    row = answered(said)
    assert (row["answer"], row["removed"]) == (text, removed)
    assert [(one["number"], one["id"]) for one in row["sources"]] == [(n, f"a.pdf/{n}") for n in numbers]  # type: ignore[attr-defined]


def test_the_quote_is_the_sentence_that_says_it() -> None:
    row = answered("Shipping takes a week [2], and a refund 14 days [1].")
    assert [one["quote"] for one in row["sources"]] == ["Refunds take 14 days.", "It takes a week."]  # type: ignore[attr-defined]
    assert quote("退款需要十四天。请先联系我们。", "退款要十四天") == "退款需要十四天。"
    assert quote("It is\nlong. Refunds take\n14 days.\n\nWrite.", "refunds take 14 days") == "Refunds take 14 days."
    assert quote("退款需要\n十四天。请先", "退款要十四天") == "退款需要十四天。"
    assert len(quote("word " * 200, "word")) <= 300
    assert quote("", "word") == ""


@pytest.mark.parametrize(
    ("question", "said"), [("How long?", "The documents do not say."), ("多久?", "文档中没有提到。")]
)
@pytest.mark.parametrize("text", [UNKNOWN, f"{UNKNOWN}.", None, "  "])
def test_what_the_documents_do_not_say_is_said(question: str, said: str, text: str | None) -> None:
    row = answered(text, question)
    assert (row["answer"], row["answered"], row["sources"]) == (said, False, [])


def test_an_error_is_not_an_answer() -> None:
    row = cited(None, "timeout: no answer", "q", "q", SOURCES)
    assert (row["answer"], row["answered"], row["error"], row["conversation"]) == (
        None,
        False,
        "timeout: no answer",
        None,
    )
