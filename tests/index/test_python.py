"""An index from Python and from OpenAI's client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

import sqlllm
from sqlllm.errors import OptionError, TableError

from .embedding import vector
from .rows import Row, about, overwrite

if TYPE_CHECKING:
    from sqlllm.session import Session

ROWS: list[Row] = [
    ("a1", "a.pdf", "the cat sleeps on the sofa", 2019),
    ("a2", "a.pdf", "error E1234 means that the disk is full", 2020),
    ("b1", "b.pdf", "O'Brien pays in cash", 2021),
    ("b2", "b.pdf", None, 2021),
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SQLLLM_HOME", str(tmp_path))
    overwrite(tmp_path / "indexes", ROWS, about(document="doc"))
    return tmp_path


@pytest.mark.usefixtures("home")
def test_words_vectors_filters_and_columns_without_a_model() -> None:
    index = sqlllm.Index("kb")
    assert len(index) == 4
    assert index.columns == ["id", "doc", "content", "year"]
    assert [hit["id"] for hit in index.search("E1234", query_type="full_text")] == ["a2"]
    hits = index.search(query_vector=vector("a cat sleeps"), num_results=1, columns=["id", "year"])
    assert hits == [{"id": "a1", "year": 2019, "search_score": pytest.approx(hits[0]["search_score"])}]
    for filters in ({"content": "O'Brien pays in cash"}, 'content = "O\'Brien pays in cash"'):
        assert [hit["id"] for hit in index.search(query_vector=vector("x"), filters=filters)] == ["b1"]
    found = index.search_all(["cat", "disk", "nothing at all"], query_type="full_text")
    assert [[hit["id"] for hit in hits] for hits in found] == [["a1"], ["a2"], []]


@pytest.mark.usefixtures("home")
def test_what_cannot_be_searched_says_why() -> None:
    with pytest.raises(TableError, match=r"there is no index kbb(.|\n)*Did you mean kb\?"):
        sqlllm.Index("kbb")
    with pytest.raises(OptionError, match="is not a name of an index"):
        sqlllm.Index("k b")
    with pytest.raises(TableError, match="index kb has no version 99"):
        sqlllm.Index("kb", version=99)
    index = sqlllm.Index("kb")
    with pytest.raises(OptionError, match="hybird is not a query_type"):
        index.search("x", query_type="hybird")
    with pytest.raises(OptionError, match="the index has no column nr"):
        index.search("x", query_type="full_text", columns=["nr"])
    with pytest.raises(OptionError, match="filters: the index has no column a' = 'x' OR '1'='1' --"):
        index.search("x", query_type="full_text", filters={"type": "eq", "key": "a' = 'x' OR '1'='1' --", "value": 1})


@pytest.fixture(scope="module")
def address(session: Session) -> str:
    overwrite(session.settings.home / "indexes", ROWS, about(document="doc"))
    return f"{session.serving.endpoint}/v1"


@pytest.mark.slow
def test_a_question_s_vector_comes_from_the_gateway(session: Session, address: str) -> None:
    model = sqlllm.LLM("emb", base_url=address, api_key="none")
    index = sqlllm.Index(f"{session.settings.home}/indexes/kb", model=model)
    assert index.search("sleeps a cat", num_results=1)[0]["id"] == "a1"
    assert [hits[0]["id"] for hits in index.search_all(["cat", "cash"], query_type="hybrid")] == ["a1", "b1"]


@pytest.mark.slow
def test_openai_s_client_searches(address: str) -> None:
    from openai import OpenAI

    client = OpenAI(base_url=address, api_key="none", max_retries=0)
    page = client.vector_stores.search("kb", query="error E1234", max_num_results=2)
    (best, _) = page.data
    assert (best.file_id, best.filename, best.content[0].text) == ("a2", "a.pdf", ROWS[1][2])
    assert best.attributes == {"id": "a2", "doc": "a.pdf", "year": 2020}
    page = client.vector_stores.search(
        "kb", query=["cat", "cash"], filters={"type": "gte", "key": "year", "value": 2020}
    )
    assert page.data[0].file_id == "b1"
    assert "a1" not in {one.file_id for one in page.data}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "body", "status", "words"),
    [
        ("kbb", {"query": "x"}, 404, "there is no index kbb"),
        ("..%2Fkb", {"query": "x"}, 404, ""),
        ("kb", {}, 400, "query is missing"),
        ("kb", {"query": " "}, 400, "query is empty"),
        ("kb", {"query": "x", "max_num_results": 99}, 400, "from 1 to 50"),
        ("kb", {"query": "x", "filter": {}}, 400, "did you mean filters?"),
        ("kb", {"query": "x", "filters": {"type": "eq", "key": "title", "value": 1}}, 400, "no column title"),
        ("kb", {"query": "x", "rewrite_query": True}, 400, "leave rewrite_query out"),
        ("kb", {"query": "x", "query_type": "near"}, 400, "near is not a query_type"),
    ],
)
def test_a_request_that_cannot_be_answered(address: str, name: str, body: object, status: int, words: str) -> None:
    reply = httpx.post(f"{address}/vector_stores/{name}/search", json=body, timeout=60)
    assert reply.status_code == status, reply.text
    assert words in reply.json()["error"]["message"]
