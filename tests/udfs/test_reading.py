# ruff: noqa: E501, RUF001 - other scripts' marks are meant
"""What models write, and the values that are read in it; "!" and words of the reason where there is none."""

from __future__ import annotations

import json

import pytest

from sqlllm.udfs.kinds import parse, schema
from sqlllm.udfs.reading import Unreadable, read

BOOLEANS = {
    "true": "true",
    "FALSE": "false",
    " True.\n": "true",
    "**True**": "true",
    "**True.**": "true",
    "`no`": "false",
    '"yes"': "true",
    "“是”。": "true",
    "否": "false",
    "不是。": "false",
    "答案：是": "true",
    "答案是否": "false",
    "Answer: yes": "true",
    "**Answer:** No": "false",
    "The final answer is: **false**": "false",
    "The answer is true.": "true",
    "A: yes": "true",
    "<answer>true</answer>": "true",
    "\\boxed{yes}": "true",
    '{"answer": true}': "true",
    '{"answer": "No"}': "false",
    '{"result": false, "reason": "it is not true"}': "false",
    "{'answer': True}": "true",
    "[true]": "true",
    '```json\n{"answer": false}\n```': "false",
    "```\ntrue\n```": "true",
    'So: {"answer": true}.': "true",
    "Yes. The text names a delivery.": "true",
    "False\n\nThe text speaks of something else.": "false",
    "Let me see.\n\nAnswer: false": "false",
    "null": None,
    '{"answer": null}': None,
    # A sentence is not an answer, whatever words are in it.
    "The statement is not true.": "!",
    "It is neither true nor false.": "!",
    "The answer is not true.": "!",
    "Not true": "!",
    "Not: true": "!",
    "No: true": "!",
    "不对：是": "!",
    "true or false?": "!",
    "Yes and no.": "!",
    "Yes, but no.": "!",
    "No idea": "!",
    "No. 5": "!",
    "No. It is true.": "!",
    "I cannot say": "!",
    "as [1] says": "!",
    "true\nfalse": "!",
    '{"a": true, "b": false}': "!",
    "```\ntrue\n```\nor\n```\nfalse\n```": "! several",
    "": "! it is empty",
    " \n": "! it is empty",
    "none": "!",
}
LABELS = ["U.S.", "Inc.", '"Other"', "praise", "Bug: UI", "C++", "C", "in_progress", ">50", "好评"]
LABEL = {
    "U.S.": "U.S.",
    "u.s.": "U.S.",
    "**U.S.**": "U.S.",
    "U.S": "U.S.",
    "Inc": "Inc.",
    '"Other"': '"Other"',
    "Other": '"Other"',
    "'Other'.": '"Other"',
    "PRAISE": "praise",
    "Praise.": "praise",
    "**praise**": "praise",
    "***praise***": "praise",
    "_praise_": "praise",
    "`praise`": "praise",
    "“praise”。": "praise",
    "【praise】": "praise",
    "ｐｒａｉｓｅ": "praise",
    "好评！": "好评",
    "「好评」": "好评",
    "标签：好评。": "好评",
    "分类是：好评": "好评",
    "Label: praise": "praise",
    "label = praise": "praise",
    "Kategorie: praise": "praise",
    "**Label**: praise": "praise",
    "**Label:** **praise**": "praise",
    "### Label: praise": "praise",
    "Label:\npraise": "praise",
    "The sentiment is praise.": "praise",
    "- praise": "praise",
    "1. praise": "praise",
    "(praise)": "praise",
    "[praise]": "praise",
    '["praise"]': "praise",
    '{"label": "praise"}': "praise",
    '{"label": "U.S."}': "U.S.",
    '{"label": "\\"Other\\""}': '"Other"',
    '{"category": "Praise"}': "praise",
    '{"labels": ["praise"]}': "praise",
    '{"label": "praise", "confidence": 0.9}': "praise",
    '```json\n{"label": "praise"}\n```': "praise",
    "```\npraise\n```": "praise",
    '```json {"label": "praise"} ```': "praise",
    'Here it is: {"label": "praise"}': "praise",
    "praise\n\nThe customer is happy.": "praise",
    "The customer is happy.\n\n**Label: praise**": "praise",
    "Bug: UI": "Bug: UI",
    "Label: Bug: UI": "Bug: UI",
    "C++": "C++",
    "c": "C",
    "`C++`": "C++",
    "in progress": "in_progress",
    "In-Progress": "in_progress",
    ">50": ">50",
    '{"label": null}': None,
    "<50": "!",
    "praise, U.S.": "!",
    "praise\nU.S.": "!",
    "not praise": "!",
    "Not: praise": "!",
    "U.S.: praise": "!",
    "I would say praise": "!",
    "The label is not praise": "!",
    "praised": "!",
    "none of these": "!",
    '{"label": "other"} {"label": "praise"}': "!",
    '{"label": "blame"}': "!",
}
SEVERAL = {
    "praise": ["praise"],
    "praise, U.S.": ["praise", "U.S."],
    "praise, praise": ["praise"],
    "Labels: praise, C++": ["praise", "C++"],
    "praise、好评": ["praise", "好评"],
    "praise; C": ["praise", "C"],
    "praise and C": ["praise", "C"],
    "Bug: UI, praise": ["Bug: UI", "praise"],
    "- praise\n- C": ["praise", "C"],
    "Labels:\n1. praise\n2. U.S.": ["praise", "U.S."],
    '["praise", "u.s."]': ["praise", "U.S."],
    '{"labels": ["praise"]}': ["praise"],
    '{"labels": [{"label": "praise", "score": 1}]}': ["praise"],
    '{"praise": true, "C": false}': ["praise"],
    "[]": [],
    "none": [],
    "praise, blame": "!",
    "I see praise": "!",
}
OFFER = "struct<name string, price double>"
OFFERS = {
    '{"name":"Anna","price":12.5}': {"name": "Anna", "price": 12.5},
    'Sure!\n```json\n{"name": "Anna", "price": "12.5"}\n```\nAnything else?': {"name": "Anna", "price": 12.5},
    'Sure: {"name": "Anna", "price": 12.5} as asked.': {"name": "Anna", "price": 12.5},
    '```\n{"name": "Anna", "price": 12.5}': {"name": "Anna", "price": 12.5},
    "{'name': 'Anna', 'price': None,}": {"name": "Anna", "price": None},
    "{name: 'Anna', // bare\n price: .5}": {"name": "Anna", "price": 0.5},
    "{“name”：“Anna”，“price”：3}": {"name": "Anna", "price": 3.0},
    '{"Name": "Anna", "Price": "$1,250.00"}': {"name": "Anna", "price": 1250.0},
    '[{"name": "Anna", "price": 1}]': {"name": "Anna", "price": 1.0},
    '{"result": {"name": "Anna", "price": 1}}': {"name": "Anna", "price": 1.0},
    '{"name": "two\nlines", "price": 1}': {"name": "two\nlines", "price": 1.0},
    '{"name": "\\ud83d\\ude00", "price": 1, "more": [1]}': {"name": "😀", "price": 1.0},
    '{"name": 5.00, "price": "N/A"}': {"name": "5.00", "price": None},
    '{"name": null, "price": null}': {"name": None, "price": None},
    '{"name": "Anna"}': {"name": "Anna", "price": None},
    '{"name": {"first": "Anna"}, "price": 1}': {"name": '{"first":"Anna"}', "price": 1.0},
    '{"name":"Anna","price":1} {"name":"Anna","price":1.0}': {"name": "Anna", "price": 1.0},
    "{}": "! it has none of the fields name, price",
    '{"product": "x"}': "! it has none of the fields name, price",
    '{"name": "Anna", "price": "cheap"}': "! price is not a double",
    '{"name": "Anna", "pri': "! the text ends inside a value",
    '```json\n{"name": "Anna", "price": {"a": 1}': "! the text ends inside a value",
    '{"name": "Anna", "price": 1e999}': "! price is not a double",
    '{"name": "?"} so {"name": "Anna"}': "! it holds several that differ",
    '{"name": "A" "price": {"name": "B"}}': "! neither a comma nor }",
    '{"name": "he said "no"", "price": 1}': "!",
    "Anna, 12.5": "!",
    "": "! it is empty",
}
TYPED = {
    "int": {
        "42": "42", "42.": "42", "42.0": "42", "-5": "-5", "- 5": "5", "1,234": "1234", "１２": "12", "**42**": "42",
        "The answer is 42.": "42", '{"answer": 42}': "42", '{"answer": "42"}': "42", "[42]": "42", "1e3": "1000",
        "12.5": "!", "42 apples": "!", "1,23": "!", "3000000000": "!", "forty": "!", "1 2": "!", "": "!", "true": "!",
        "[1, 2]": "!", "12%": "!", "1e400": "!",
    },
    "tinyint": {"127": "127", "128": "!"},
    "bigint": {"9007199254740993": "9007199254740993", "9223372036854775808": "!"},
    "double": {"12.5": "12.5", "$12.50": "12.5", "12,50 €": "!", "1e3": "1000.0", "nan": "NaN", "1e999": "!", "−2": "-2.0"},
    "float": {"1.5": "1.5", "1e39": "!"},
    "decimal(5,2)": {"12.345": "12.35", "€12.5": "12.50", "999.99": "999.99", "1000": "!", "0": "0.00", "1e99": "!"},
    "decimal": {"1.5": "2"},
    "date": {
        "2024-01-31": "2024-01-31", "2024/1/31": "2024-01-31", "January 31, 2024": "2024-01-31",
        "31st of Jan. 2024": "2024-01-31", "2024年1月31日": "2024-01-31", "2024-01-31T10:00:00Z": "2024-01-31",
        "Date: 2024-01-31.": "2024-01-31", "01/02/2024": "!", "2024-02-30": "!", "2024": "!", "soon": "!",
    },
    "timestamp": {
        "2024-01-31 10:00": "2024-01-31T10:00:00", "2024-01-31T10:00:00.5Z": "2024-01-31T10:00:00.500000+00:00",
        "2024-01-31 10:00:00 UTC": "2024-01-31T10:00:00+00:00", "2024-01-31": "2024-01-31T00:00:00", "10:00": "!",
    },
    "timestamp_ntz": {"2024-01-31 10:00:00+02:00": "2024-01-31T10:00:00"},
    "binary": {"aGk=": "aGk=", "?": "!"},
    "string": {" <b> as it is ": "<b> as it is"},
    "varchar(3)": {"abc": "abc", "abcd": "! not a varchar(3)"},
    "variant": {'{"a": [1, 2.50, null]}': '{"a":[1,2.50,null]}', "7": "7", '"x"': '"x"', "x": "!", "[1": "!"},
    "array<int>": {"[1, '2', null]": "[1,2,null]", '{"answer": [1]}': "[1]", "- 1\n- 2": "[1,2]", "[]": "[]",
                   "[1, 2": "!", "[1.5]": "! element 0 is not an int", "1, 2": "!"},
    "array<string>": {"['a', \"b\"]": '["a","b"]', "* a\n* b": '["a","b"]', "[1.50]": '["1.50"]'},
    "map<string,int>": {"{'a': 1}": '{"a":1}', '{"answer": {"a": 2}}': '{"a":2}', "{}": "{}", '{"a": "x"}': "! a is not an int"},
    "a int, b array<struct<c: date>>": {
        '{"a": 1, "b": [{"c": "2024-01-01"}]}': '{"a":1,"b":[{"c":"2024-01-01"}]}',
        '{"a": 1, "b": [{"c": "soon"}]}': "! c is not a date",
    },
    "struct<a int not null>": {'{"a": null, "b": 1}': "! a is missing"},
    "struct<v variant, d decimal(10,2), x binary>": {'{"v": [1.0], "d": "7", "x": "aGk="}': '{"v":[1.0],"d":7.00,"x":"aGk="}'},
}  # fmt: skip


def check(text: str, name: str, expected: object, labels: list[str] | None = None) -> None:
    kind = parse(name, None if labels is None else json.dumps(labels))
    if isinstance(expected, str) and expected.startswith("!"):
        with pytest.raises(Unreadable) as raised:
            read(text, kind)
        assert expected[2:] in str(raised.value)
        return
    found = read(text, kind)
    assert (json.loads(found) if isinstance(expected, (dict, list)) and found else found) == expected


@pytest.mark.parametrize(("text", "expected"), BOOLEANS.items())
def test_a_boolean_is_what_the_answer_is(text: str, expected: object) -> None:
    check(text, "boolean", expected)


@pytest.mark.parametrize(("text", "expected"), LABEL.items())
def test_a_label_is_the_whole_answer(text: str, expected: object) -> None:
    check(text, "label", expected, LABELS)


@pytest.mark.parametrize(("text", "expected"), SEVERAL.items())
def test_several_labels_are_all_of_the_answer(text: str, expected: object) -> None:
    check(text, "labels", expected, LABELS)


@pytest.mark.parametrize(("text", "expected"), OFFERS.items())
def test_a_struct_is_found_in_what_is_written_around_it(text: str, expected: object) -> None:
    check(text, OFFER, expected)


@pytest.mark.parametrize(
    ("name", "text", "expected"), [(name, *case) for name, cases in TYPED.items() for case in cases.items()]
)
def test_a_value_of_each_type(name: str, text: str, expected: object) -> None:
    check(text, name, expected)


def test_labels_that_differ_in_case_alone() -> None:
    check("us", "label", "us", ["US", "us"])
    check("Us", "label", "!", ["US", "us"])


@pytest.mark.parametrize("name", ["int", "struct<a int>", "array<int>", "label"])
def test_a_cut_answer_is_an_error_where_more_may_follow(name: str) -> None:
    kind = parse(name, '["12"]' if name == "label" else None)
    with pytest.raises(Unreadable, match="max_tokens cut it off"):
        read("1" if name in ("int", "label") else '{"a": [1', kind, cut=True)
    whole = {"int": None, "struct<a int>": '{"a":1}', "array<int>": "[1]", "label": "12"}[name]
    if whole:
        assert read(whole, kind, cut=True) == whole


def test_an_error_shows_the_answer_in_short() -> None:
    with pytest.raises(Unreadable) as raised:
        read("word " * 200, parse("int"))
    assert str(raised.value).startswith("the answer is not an int: word word")
    assert len(str(raised.value)) < 260


def test_what_is_nested_deeply_is_an_error() -> None:
    check("[" * 5000, "array<int>", "!")
    check("[" * 5000 + "]" * 5000, "variant", "!")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("strct<a int>", "'strct<a int>' is not a type of Spark"),
        ("array<int", "not a type"),
        ("array", "cannot be read"),
        ("struct<>", "cannot be read"),
        ("struct<a int, A int>", "a field is there twice"),
        ("map<int, int>", "keys of a map"),
        ("time", "cannot be read"),
        ("interval day", "cannot be read"),
        ("decimal(50,2)", "at most 38 digits"),
        ("label", "labels are a JSON array"),
        ("", "not a type"),
    ],
)
def test_what_is_not_a_type_is_refused(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        parse(name)
    assert words in str(raised.value)


def test_a_schema_holds_comments_and_nulls() -> None:
    told = schema(parse("struct<name string comment 'of the buyer', tags map<string,int> not null, v variant>"))
    assert told["properties"] == {
        "name": {"type": ["string", "null"], "description": "of the buyer"},
        "tags": {"type": "object", "additionalProperties": {"type": "integer"}},
        "v": {},
    }
    assert told["required"] == ["name", "tags", "v"]


@pytest.mark.parametrize("labels", ['["a", "b"]', '[{"label": "a"}, {"label": "b"}]', '{"a": "first", "b": ""}'])
def test_labels_come_in_three_forms(labels: str) -> None:
    assert read("B.", parse("label", labels)) == "b"
