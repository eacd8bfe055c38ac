"""Chunks: none larger than it may be, nothing of the text lost, tables cut between rows, headings shortened first."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from sqlllm.udfs.chunks import WAYS, Chunk, chunks
from sqlllm.udfs.counting import Counter
from sqlllm.udfs.splitting import split

COUNTER = Counter()
LETTERS = Counter(letters=True)


def missing(text: str, found: list[Chunk]) -> str:
    """What stands in no chunk, but for blanks."""
    held = bytearray(len(text))
    for chunk in found:
        held[chunk.start : chunk.end] = b"\1" * (chunk.end - chunk.start)
    return "".join(letter for letter, kept in zip(text, held, strict=True) if not kept and not letter.isspace())


# Tables.


def test_a_table_is_cut_between_rows_and_each_chunk_repeats_its_head() -> None:
    head = "| code | meaning | days |\n|---|---|---:|\n"
    rows = [f"| E{n:04} | the part number {n} is late | {n} |" for n in range(60)]
    text = f"# Codes\n\n{head}" + "\n".join(rows) + "\n\nEnd of the table."
    found = chunks(text, COUNTER, 200, 20)
    assert max(chunk.tokens for chunk in found) <= 200
    assert len(found) > 3
    tables = [chunk for chunk in found if "| E" in chunk.content]
    assert all(head in chunk.content for chunk in tables)
    shown = [line for chunk in tables for line in chunk.content.split("\n") if line.startswith("| E")]
    assert shown == rows  # whole, each once, in order
    assert not missing(text, found)


def test_a_head_that_leaves_no_room_for_a_row_is_not_repeated_and_not_lost() -> None:
    text = f"| {' '.join(f'title{n}' for n in range(40))} | b |\n|---|---|\n" + "| some cell | x |\n" * 20
    found = chunks(text, COUNTER, 60, 0)
    assert max(chunk.tokens for chunk in found) <= 60
    assert sum(chunk.content.count("title39") for chunk in found) == 1
    assert not missing(text, found)


def test_a_row_larger_than_a_chunk_is_cut_and_not_lost() -> None:
    text = f"| a | b |\n|---|---|\n| 1 | {' '.join(f'word{n}' for n in range(200))} |\n| 2 | last |"
    found = chunks(text, COUNTER, 50, 0)
    assert max(chunk.tokens for chunk in found) <= 50
    assert not missing(text, found)
    assert all(sum(f"word{n}" in chunk.content.split() for chunk in found) == 1 for n in range(200))


# Headings.


@pytest.mark.parametrize("limit", [8, 16, 32, 41, 64])
def test_a_long_path_of_headings_is_shortened_and_the_text_below_is_whole(limit: int) -> None:
    path = [f"{'#' * level} {' '.join(f'level{level}' for _ in range(5))}" for level in range(1, 5)]
    body = " ".join(f"word{n}." for n in range(60))
    text = "\n\n".join([*path, body])
    found = chunks(text, COUNTER, limit, 0)
    assert sum(COUNTER.count(one) for one in path) >= 40
    assert max(COUNTER.count(chunk.content) for chunk in found) <= limit
    assert all(chunk.tokens == COUNTER.count(chunk.content) for chunk in found)
    assert not missing(text, found)
    assert [word for chunk in found for word in chunk.content.split() if word.startswith("word")] == body.split()
    # The nearest heading stays longest.
    assert all("level1" not in chunk.content or "level4" in chunk.content for chunk in found[1:])


def test_a_sign_in_fenced_code_is_not_a_heading() -> None:
    code = "```python\n# not a heading\nprint('x')\n\n## nor this\n```"
    text = f"# Guide\n\nText before.\n\n{code}\n\nText after.\n\n~~~\n# open to the end"
    (whole,) = chunks(text, COUNTER, 200, 0)
    assert code in whole.content
    assert whole.headings == ("Guide",)
    assert {chunk.headings for chunk in chunks(text, COUNTER, 12, 0)} == {("Guide",)}


# Windows of exact sizes.


def test_letters_overlap_exactly() -> None:
    found = chunks("abcdefghij", LETTERS, 5, 2, "characters")
    assert [chunk.content for chunk in found] == ["abcde", "defgh", "ghij"]


@pytest.mark.parametrize(("size", "overlap"), [(1, 0), (2, 1), (5, 2), (7, 6), (100, 10)])
def test_windows_reassemble(size: int, overlap: int) -> None:
    text = "".join(random.Random(5).choices("abc中文é", k=97))
    found = chunks(text, LETTERS, size, overlap, "characters")
    assert found[0].content + "".join(chunk.content[overlap:] for chunk in found[1:]) == text
    assert {len(chunk.content) for chunk in found[:-1]} <= {size}


def test_byzers_parts_are_the_text() -> None:
    drawn = random.Random(9)
    for _ in range(200):
        text = "".join(drawn.choices("ab. \n。", k=drawn.randrange(60)))
        limit = drawn.randrange(1, 12)
        found = split(text, ["\n", ". ", "。", ""], limit)
        assert "".join(found) == text
        assert all(0 < len(part) <= limit for part in found)


# Any text.

_PARTS = (
    "# Heading",
    "## Another one with words",
    "###### deep",
    "Title\n=====",
    "plain words here",
    "A sentence. And more!",
    "中文句子。还有一句。",
    "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |",
    "```\n# code\n```",
    "~~~",
    "- item\n- other",
    "supercalifragilisticexpialidocious" * 3,
    "1234567890 12.5%",
    "مرحبا",
    "\U0001f469\u200d\U0001f467",
    "|",
    "|---|",
    "#",
    "",
    " ",
    "\t",
    "\r\n",
    "\u00a0",
    "```",
)


@pytest.mark.parametrize("by", WAYS)
def test_no_text_loses_anything_and_no_chunk_is_too_large(by: str) -> None:
    drawn, counter = random.Random(18), LETTERS if by == "characters" else COUNTER
    for _ in range(100):
        text = drawn.choice(("\n", "\n\n", " ")).join(drawn.choices(_PARTS, k=drawn.randrange(1, 14)))
        most = drawn.choice((1, 2, 3, 5, 8, 20, 60))
        found = chunks(text, counter, most, drawn.randrange(most), by)
        assert not missing(text, found), (text, most)
        assert all(0 < counter.count(chunk.content) == chunk.tokens <= most for chunk in found), (text, most)
        assert [chunk.chunk_id for chunk in found] == list(range(len(found)))
        assert all(one.start <= other.start and one.end <= other.end for one, other in pairwise(found)), text
        assert bool(found) == bool(text.strip())
