"""What is found, in which order and with which score, with and without indexes of Lance."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sqlllm.errors import OptionError
from sqlllm.retrieval import care, filters
from sqlllm.retrieval.search import KINDS, SCORE, Search

from .embedding import SIZE, vector
from .rows import Row, about, overwrite

FIRST = [1.0] + [0.0] * (SIZE - 1)
SIXTY = [0.5, 0.75**0.5] + [0.0] * (SIZE - 2)


def ids(hits: list[dict[str, Any]]) -> list[str]:
    return [hit["id"] for hit in hits]


@pytest.fixture(scope="module", params=["scanned", "indexed"])
def many(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Search:
    """20,000 rows, 1.6 % of which are of the year 1999 and lie anywhere."""
    drawn = random.Random(7)
    rows: list[Row] = [(f"{n:05}", "d", f"text {n}", 1999 if n % 62 == 0 else 2020) for n in range(20_000)]
    vectors = [[drawn.gauss(0, 1) for _ in range(SIZE)] for _ in rows]
    vectors[5], vectors[7] = FIRST, SIXTY
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "scanned":
            patch.setattr(care, "FEW", 10**9)
        dataset = overwrite(tmp_path_factory.mktemp("many"), rows, vectors=vectors)
    assert care.searched_by_index(dataset) == (request.param == "indexed")
    return Search(dataset.uri, dataset.version, limit=50)


def again(search: Search, **changed: Any) -> Search:
    return replace(search, **changed)


def test_filters_are_applied_before_the_rows_are_counted(many: Search) -> None:
    for given in ("year = 1999", '{"year": 1999}', '{"type": "eq", "key": "year", "value": 1999}'):
        hits = again(many, filters=given).run("x", FIRST)
        assert len(hits) == 50
        assert {hit["year"] for hit in hits} == {1999}
    exact = again(many, filters="year = 1999", exact=True).run("x", FIRST)
    assert len(set(ids(exact)) & set(ids(again(many, filters="year = 1999").run("x", FIRST)))) >= 45


def test_a_score_is_the_cosine_whichever_way_a_row_was_found(many: Search) -> None:
    hits = {hit["id"]: hit[SCORE] for hit in again(many, limit=2, filters="id in ('00005', '00007')").run("x", FIRST)}
    assert hits == {"00005": pytest.approx(1.0, abs=1e-6), "00007": pytest.approx(0.5, abs=1e-6)}
    (best,) = again(many, limit=1).run("x", FIRST)
    assert (best["id"], best[SCORE]) == ("00005", pytest.approx(1.0, abs=1e-6))
    (best,) = again(many, limit=1).run("x", [3 * one for one in FIRST])  # its length says nothing
    assert best[SCORE] == pytest.approx(1.0, abs=1e-6)
    everywhere = again(many, limit=20).run("x", FIRST)
    assert [hit[SCORE] for hit in everywhere] == sorted((hit[SCORE] for hit in everywhere), reverse=True)


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Search:
    """Equal texts, Chinese, codes, blanks."""
    texts = ["we sell oranges"] * 5 + [
        "我们在北京学习机器翻译",
        "今天天气很好",
        "O'Brien pays",
        "  ",
        None,
        "zebra crossing",
    ]
    rows: list[Row] = [(f"{n:02}", "d", text, n) for n, text in enumerate(texts)]
    drawn = random.Random(3)
    drawn.shuffle(rows)
    dataset = overwrite(tmp_path_factory.mktemp("some"), rows)
    return Search(dataset.uri, dataset.version, limit=3)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_one_score_stand_by_their_key(some: Search, kind: str) -> None:
    for limit in (2, 3, 5):
        hits = again(some, kind=kind, limit=limit).run("oranges we sell", vector("oranges we sell"))
        assert ids(hits) == ["00", "01", "02", "03", "04"][:limit]


def test_chinese_words_are_found_inside_a_sentence(some: Search) -> None:
    for word, found in {"机器翻译": ["05"], "北京": ["05"], "天气": ["06"], "上海": []}.items():
        assert ids(again(some, kind="full_text").run(word)) == found


@pytest.mark.parametrize("kind", KINDS)
def test_a_blank_text_is_never_a_hit_and_a_blank_question_has_none(some: Search, kind: str) -> None:
    hits = again(some, kind=kind, limit=20).run("zebra", vector("zebra"))
    assert not {"08", "09"} & set(ids(hits))
    for text, vectors in ((None, None), (" ", None), ("", [0.0] * SIZE)):
        assert again(some, kind=kind).run(text, vectors) == []


def test_a_question_s_vector_of_another_size_is_refused(some: Search) -> None:
    with pytest.raises(OptionError, match="the question's vector has 2 numbers, and those of the index have 32"):
        some.run("x", [1.0, 2.0])


def test_words_that_look_like_a_language_of_queries_are_words(some: Search) -> None:
    for text in ('"oranges" AND (', "content:oranges^2 OR *", "oranges~ \\", "' OR 1=1 --"):
        again(some, kind="full_text").run(text)
        again(some, kind="hybrid").run(text, vector(text))


def test_hybrid_finds_codes_and_paraphrases_where_each_alone_finds_one_of_them(tmp_path: Path) -> None:
    """Vectors that know meaning and no codes, as real ones do: one of a topic, alike for its paraphrases."""
    topics = ["money", "travel", "health", "music", "sport", "law"]
    drawn = random.Random(11)
    axes = {topic: [drawn.gauss(0, 1) for _ in range(SIZE)] for topic in topics}

    def near(topic: str, noise: float = 0.3) -> list[float]:
        return [one + drawn.gauss(0, noise) for one in axes[topic]]

    rows: list[Row] = []
    vectors, questions = [], []
    for n in range(120):
        topic = topics[n % 6]
        rows.append((f"code{n:03}", topic, f"part number QX{n:03}Z of the catalogue", n))
        vectors.append(near(topic))
    for n, topic in enumerate(topics):
        rows.append((f"para{n}", topic, f"passage {n} says it in words of its own", n))
        vectors.append([2 * one for one in axes[topic]])
        questions.append((f"how may one put {topic} differently", axes[topic], f"para{n}"))
    questions += [(f"QX{n:03}Z", near(drawn.choice(topics)), f"code{n:03}") for n in range(0, 120, 20)]
    dataset = overwrite(tmp_path, rows, about(), vectors)
    found = {
        kind: sum(
            right in ids(Search(dataset.uri, dataset.version, kind, 3).run(text, asked))
            for text, asked, right in questions
        )
        for kind in KINDS
    }
    assert found["hybrid"] == len(questions)
    assert max(found["ann"], found["full_text"]) < len(questions)


COLUMNS = ("id", "year", "Lang", "a b`c")
RIGHT = {
    "year >= 2020 and Lang in ('en', 'de')": "(`year` >= 2020 and `Lang` in ('en', 'de'))",
    "lang like 'A%' or not year between 1 and 2": "(`Lang` like 'A%' or (not `year` between 1 and 2))",
    'id = "O\'Brien"': "`id` = 'O''Brien'",
    "id = 'O''Brien'": "`id` = 'O''Brien'",
    "id is not null and year <> -1": "((not `id` is null) and `year` != -1)",
    "`a b``c` = true": "`a b``c` = true",
    "year > date'2020-01-01'": "`year` > date '2020-01-01'",
    '{"id": "O\'Brien"}': "(`id` in ('O''Brien'))",
    '{"year >=": 2020, "lang NOT": ["e", null]}': "(`year` >= 2020) and ((`Lang` not in ('e') and `Lang` is not null))",
    '{"a b`c": 1}': "(`a b``c` in (1))",
    '{"type": "or", "filters": [{"type": "eq", "key": "id", "value": "x"},'
    ' {"type": "in", "key": "year", "value": [1]}]}': "(`id` = 'x') or (`year` in (1))",
    "  ": "",
}  # fmt: skip
WRONG = {
    "title = 'x'": "no column title",
    "{\"a' = 'x' OR '1'='1' --\": \"x\"}": "cannot be used",
    '{"type": "eq", "key": "id` = `id", "value": 1}': "no column id` = `id",
    "id = 'a' or 1 = (select 1)": "cannot be used",
    "id = 'a'; drop table t": "cannot be used",
    "upper(id) = 'A'": "UPPER(id) is not a comparison",
    "t.id = 'a'": "cannot be used",
    "id = ": "not a condition",
    "{'id': 1": "not JSON",
    '{"id": {"x": 1}}': "not a text, a number, a date or a boolean",
    '{"type": "near", "key": "id", "value": 1}': "'near' is not a type of filter",
    "id rlike 'a'": "cannot be used",
}


@pytest.mark.parametrize(("given", "expected"), RIGHT.items())
def test_a_filter_is_written_anew(given: str, expected: str) -> None:
    assert filters.condition(given, COLUMNS) == expected


@pytest.mark.parametrize(("given", "words"), WRONG.items())
def test_a_filter_that_cannot_be_used_says_why(given: str, words: str) -> None:
    with pytest.raises(OptionError) as raised:
        filters.condition(given, COLUMNS)
    assert words in str(raised.value)


def test_a_value_with_a_quote_finds_its_row_and_no_others(some: Search) -> None:
    for given in ('content = "O\'Brien pays"', '{"content": "O\'Brien pays"}'):
        assert ids(again(some, filters=given, limit=9).run("x", vector("we sell"))) == ["07"]


# Neighbours: values that compare with nothing, and conditions that never end.

NULLS = {
    '{"year =": null}': "(`year` is null)",
    '{"type": "ne", "key": "year", "value": null}': "`year` is not null",
    '{"type": "eq", "key": "year", "value": null}': "`year` is null",
}
BEYOND = {
    '{"year >=": null}': "year cannot be >= null",
    '{"year": NaN}': "nan is not a number",
    '{"year >": Infinity}': "inf is not a number",
    "year > 1e400": "inf is not a number",
    "year = " + "1" * 5000: "too large",
    "year between symmetric 9 and 3": "cannot be used",
    '{"type":"and","filters":[' * 2000 + '{"type":"eq","key":"year","value":1}' + "]}" * 2000: "too deeply",
    "(" * 900 + "year = 1" + ")" * 900: "cannot be used",
}


@pytest.mark.parametrize(("given", "expected"), NULLS.items())
def test_a_null_in_a_filter_is_compared_by_is(given: str, expected: str) -> None:
    assert filters.condition(given, COLUMNS) == expected


@pytest.mark.parametrize(("given", "words"), BEYOND.items(), ids=lambda one: str(one)[:24])
def test_a_filter_that_no_row_can_pass_or_is_too_deep_says_why(given: str, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        filters.condition(given, COLUMNS)


def test_thousands_of_conditions_in_a_row_are_a_filter(some: Search) -> None:
    given = " or ".join(f"year = {n}" for n in range(3000))
    hits = again(some, filters=given, kind="full_text").run("zebra")
    assert ids(hits) == ["10"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", ["year = 'abc'", "year", '{"year": true}', "year like 'a%'", "year > date'abc'"])
def test_a_filter_of_another_type_than_its_column_says_so(some: Search, kind: str, given: str) -> None:
    with pytest.raises(OptionError, match="filters cannot be used: ") as raised:
        again(some, filters=given, kind=kind).run("zebra", vector("zebra"))
    assert ".rs:" not in str(raised.value)


def test_an_index_that_is_removed_and_written_again_gives_its_new_rows(tmp_path: Path) -> None:
    """Its versions begin at 1 again."""
    found = []
    for made, text in (("one", "old words"), ("two", "new words")):
        dataset = overwrite(tmp_path, [(made, "d", text, 1)], about(made=made))
        search = Search(dataset.uri, dataset.version, "full_text", made=made)
        found.append((dataset.version, ids(search.run("words"))))
        if made == "one":
            shutil.rmtree(dataset.uri)
    assert found == [(found[0][0], ["one"]), (found[0][0], ["two"])]
