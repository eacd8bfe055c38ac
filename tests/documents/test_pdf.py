"""Pages of PDFs that are made here: reading order, letters, links, what needs OCR."""

from __future__ import annotations

import pytest

from sqlllm.udfs.parsing import pdf as reader
from sqlllm.udfs.parsing.pages import Limits, Page

from .made import Sheet, Text, lines, pdf, wrapped
from .paper import FACTS, paper

LEFT = wrapped("The left column speaks of the way that water moves in the ground below a city of stone.", 30)
RIGHT = wrapped("The right column is about the wind over the northern sea, and of ships that have sailed.", 30)
WIDE = "Figure 1: a wide caption that goes over both of the columns of this page, as it does."


def read(*sheets: Sheet, **options: str) -> list[Page]:
    return list(reader.pages(pdf(sheets, **options), Limits()))


def text(*texts: Text, rotate: int = 0) -> str:
    (page,) = read(Sheet(texts, rotate=rotate))
    assert page.text is not None
    return page.text


def by_rows(left: list[Text], right: list[Text]) -> list[Text]:
    """Drawn line by line over both columns."""
    return [one for pair in zip(left, right, strict=True) for one in pair]


@pytest.mark.parametrize("drawn", ["columns", "rows", "right first"])
def test_two_columns_are_read_one_after_the_other(drawn: str) -> None:
    left, right = lines(50, 700, LEFT), lines(320, 700, RIGHT)
    order = {"columns": left + right, "rows": by_rows(left, right), "right first": right + left}[drawn]
    title = Text(180, 750, "A Paper In Two Columns", 16)
    assert text(title, *order) == "\n\n".join([title.text, "\n".join(LEFT), "\n".join(RIGHT)])


def test_a_caption_over_both_columns_stays_between_them() -> None:
    above = by_rows(lines(50, 700, LEFT), lines(320, 700, RIGHT))
    below = by_rows(lines(50, 500, LEFT), lines(320, 500, RIGHT))
    left, right = "\n".join(LEFT), "\n".join(RIGHT)
    assert text(*above, Text(50, 600, WIDE), *below) == "\n\n".join([left, right, WIDE, left, right])


def test_two_columns_of_chinese() -> None:
    left = wrapped("大语言模型已经火了很久了、希望这篇文章能帮到还没尝试过的新手、一起来学习吧。", 14)
    right = wrapped("向量是表示方向和大小的数学概念、由有限个数字组成、数字越多表示维度越大。", 14)
    drawn = by_rows(lines(50, 700, left[:3]), lines(320, 700, right[:3]))
    assert text(*drawn) == "\n".join(left[:3]) + "\n\n" + "\n".join(right[:3])


def test_a_table_is_read_by_rows() -> None:
    rows = [("item", "price", "in stock"), ("tea", "1.50", "yes"), ("coffee", "2.75", "no"), ("milk", "0.90", "yes")]
    drawn = [Text(x, 700 - 14 * y, row[at]) for y, row in enumerate(rows) for at, x in enumerate((50, 250, 350))]
    assert text(*drawn) == "\n".join("  ".join(row) for row in rows)


@pytest.mark.parametrize(
    ("rotate", "place"),
    [
        (0, lambda line: (50, 700 - 12 * line)),
        (90, lambda line: (200 + 12 * line, 50)),
        (180, lambda line: (500, 100 + 12 * line)),
        (270, lambda line: (300 - 12 * line, 700)),
    ],
)
def test_a_rotated_page_reads_as_upright(rotate: int, place: object) -> None:
    drawn = [Text(*place(line), words, turned=rotate) for line, words in enumerate(LEFT)]  # type: ignore[operator]
    assert text(*drawn, rotate=rotate) == "\n".join(LEFT)


def test_text_at_another_angle_comes_after_the_pages_own() -> None:
    stamp = Text(20, 300, "Stamped on the side", turned=90)
    assert text(stamp, *lines(50, 700, LEFT)) == "\n".join(LEFT) + "\n\n" + stamp.text


def test_ligatures_are_plain_letters_and_other_signs_stay() -> None:
    assert text(Text(50, 700, "eﬃcient ﬁeld ﬂow, x² ½ ™")) == "efficient field flow, x² ½ ™"


def test_right_to_left_text_is_in_its_order_of_reading() -> None:
    assert text(Text(50, 700, "שלום עולם"[::-1])) == "שלום עולם"


def test_letters_beyond_the_first_plane() -> None:
    assert text(Text(50, 700, "old 𠮷 and 😀")) == "old 𠮷 and 😀"


def test_a_scanned_page_needs_ocr_and_an_empty_page_does_not() -> None:
    found = read(Sheet([Text(50, 700, "text")]), Sheet(image=True), Sheet(), Sheet([Text(290, 20, "3")], image=True))
    assert [(page.number, page.text, page.needs_ocr) for page in found] == [
        (1, "text", False),
        (2, "", True),
        (3, "", False),
        (4, "3", True),
    ]


def test_the_image_of_a_scanned_page_is_bounded() -> None:
    (page,) = reader.pages(pdf([Sheet(image=True, size=(20_000, 10_000))]), Limits(), images=True)
    assert page.image is not None
    assert page.image.startswith(b"\x89PNG")
    assert int.from_bytes(page.image[16:20], "big") == 2_000  # the width


def test_links_that_run_something_are_left_out() -> None:
    sheet = Sheet([Text(50, 700, "see https://example.org/b too")], links=["https://example.org/a", "javascript:x"])
    assert read(sheet)[0].links == ["https://example.org/a", "https://example.org/b"]


@pytest.mark.parametrize(("title", "expected"), [("Told 标题", "Told 标题"), ("", "The Largest Letters")])
def test_the_title_is_the_documents_else_the_largest_line(title: str, expected: str) -> None:
    sheet = Sheet([Text(50, 750, "The Largest Letters", 18), *lines(50, 700, LEFT)])
    assert [page.title for page in read(sheet, Sheet(), title=title)] == [expected, expected]


def test_paragraphs_that_stand_apart_have_an_empty_line_between() -> None:
    assert text(*lines(50, 700, LEFT), *lines(50, 600, RIGHT)) == "\n".join(LEFT) + "\n\n" + "\n".join(RIGHT)


def test_a_paper_of_columns_above_a_table_keeps_its_sentences_and_rows() -> None:
    found = list(reader.pages(paper(), Limits()))
    assert len(found) == 5
    for page, _, fact in FACTS:
        assert fact in (found[page - 1].text or "").replace("\n", " ")
    assert all(
        (page.text or "").endswith("station  depth  day\nnorth  12  Monday\nsouth  31  Friday") for page in found
    )


def test_columns_with_paragraphs_at_one_height_are_still_columns() -> None:
    above = by_rows(lines(50, 700, LEFT), lines(320, 700, RIGHT))
    below = by_rows(lines(50, 630, LEFT), lines(320, 630, RIGHT))
    left, right = "\n".join(LEFT), "\n".join(RIGHT)
    assert text(*above, *below) == "\n\n".join([left, left, right, right])


def test_columns_with_wide_lines() -> None:
    left, right = lines(50, 700, LEFT, leading=2.2), lines(320, 700, RIGHT, leading=2.2)
    assert text(*by_rows(left, right)) == "\n".join(LEFT) + "\n\n" + "\n".join(RIGHT)
