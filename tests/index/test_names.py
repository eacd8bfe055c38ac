"""Names and values that a script pastes: what they open, and what they mean in SQL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sqlllm.compat.storage import ByzerStorage
from sqlllm.errors import ForbiddenError, OptionError
from sqlllm.jobs.serving.gateway.indexes import IndexSearch
from sqlllm.jobs.serving.protocol import RequestError
from sqlllm.retrieval import filters
from sqlllm.retrieval.search import Search
from sqlllm.session import Session
from sqlllm.session.indexes import exact, places
from sqlllm.session.modules.retrieval import _name
from sqlllm.udfs import index as tasks

from .embedding import vector
from .rows import Row, about, overwrite


@pytest.mark.parametrize(
    "name", ["~/kb", "file:/../../a/kb", "../kb", "./../kb.lance", "file:///etc/kb", "kb/../../../etc/x"]
)
def test_a_path_outside_the_allowed_folders_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "one" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path))
    session = Session()
    session.settings.assign("home", str(here))
    session.settings.assign("allow.folders", os.pathsep.join([".", "/a"]))
    with pytest.raises(ForbiddenError, match="lies outside the folders"):
        places.of(session, name)
    assert places.of(session, "./kb").uri == str(here / "kb.lance")


@pytest.mark.parametrize("name", ["k b", ".kb", "kb\n", "a\\b", "", "..", "kb;x", "kb'"])
def test_a_name_that_is_not_one_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="is not a name of an index"):
        places.of(Session(), name)


@pytest.mark.parametrize("part", ["../x", "a/b", "a.b", "", ".", "a\n"])
def test_a_part_of_byzers_names_leads_nowhere_else(part: str) -> None:
    given = {"clusterName": "c", "database": "d", "table": part}
    with pytest.raises(OptionError):
        _name(given, "table/data")
    assert _name({**given, "table": "t-1"}, "table/data") == "c.d.t-1"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('{"id": "\\\\\' or true -- "}', r"(`id` in ('\\\' or true -- '))"),
        ('{"id": "a\\\\"}', r"(`id` in ('a\\'))"),
        ('{"id": "O\'Brien"}', r"(`id` in ('O\'Brien'))"),
        ('{"it\'s": "x"}', r"(`it's` in ('x'))"),
        ("id like 'a\\\\%'", r"`id` like 'a\\%'"),
    ],
)
def test_a_value_stays_a_value_in_sparks_sql(given: str, expected: str) -> None:
    """In Spark a backslash begins an escape: the quote after it would not end the text."""
    assert exact._spark(filters.condition(given, ("id", "it's"))) == expected


def test_filters_of_byzers_query_are_all_applied() -> None:
    query = ByzerStorage("c", "d", "t").query_builder()
    query.and_filter().add_condition("a", 1).build()
    query.or_filter().add_condition("b", 2).add_condition("c", 3).build()
    query.and_filter().build()
    condition = filters.of_values(query.filters or {}, ("a", "b", "c"))
    assert condition == "(((`a` = 1))) and ((`b` = 2) or (`c` = 3))"


ROWS: list[Row] = [("a", "d", "some words", 2020)]


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"filters": "year = 1"}, 400, "filters is an object"),
        ({"filters": [1]}, 400, "filters is an object"),
        ({"filters": {"type": "eq", "key": "year", "value": "x"}}, 400, "filters cannot be used"),
        ({"query": ["x", None]}, 400, "a text or a list of texts"),
        ({"query": {"x": 1}}, 400, "a text or a list of texts"),
        ({"query": ["x"] * 10_000}, 400, "at most 256 queries"),
        ({"name": "../kb"}, 404, "there is no index"),
    ],
)
def test_a_request_of_openais_client_is_refused_with_its_reason(
    fields: dict[str, Any], status: int, words: str, tmp_path: Path
) -> None:
    overwrite(tmp_path, ROWS, about())
    asked = {"query": "words", **fields}

    def answer() -> None:
        search = IndexSearch(asked.pop("name", "kb"), asked, str(tmp_path))
        search.open()
        search.run([vector("words")])

    with pytest.raises(RequestError, match=words) as raised:
        answer()
    assert raised.value.status == status


def test_filters_that_are_too_deep_are_refused(tmp_path: Path) -> None:
    given: dict[str, Any] = {"type": "eq", "key": "year", "value": 1}
    for _ in range(400):
        given = {"type": "and", "filters": [given]}
    with pytest.raises(RequestError, match="too deeply"):
        IndexSearch("kb", {"query": "words", "filters": given}, str(tmp_path))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"query.limit": "many"}, "query.limit is a number from 1 to 10,000, not many"),
        ({"query.limit": "-5"}, "query.limit is a number"),
        ({"query.fields": "id, nr"}, "the index has no column nr"),
        ({"query.vector": "[1, x"}, "query.vector is not an array of numbers"),
        ({"query.vector": '{"a": 1}'}, "query.vector is not an array of numbers"),
    ],
)
def test_a_wrong_key_of_byzers_function_says_why(asked: dict[str, str], words: str, tmp_path: Path) -> None:
    dataset = overwrite(tmp_path, ROWS, about())
    with pytest.raises(OptionError, match=words):
        tasks._byzer(Search(dataset.uri, dataset.version), {"query.keyword": "words", **asked})
