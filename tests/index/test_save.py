"""save and load of indexes: what is embedded, what is kept, what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.session.cases import rows_of

from .embedding import texts, vector

if TYPE_CHECKING:
    from sqlllm.session import Session
    from tests.serving.provider import Provider


pytestmark = pytest.mark.slow

CHUNKS = [
    ("a1", "a.pdf", "the cat sleeps on the sofa"),
    ("a2", "a.pdf", "error E1234 means that the disk is full"),
    ("b1", "b.pdf", "the cat sleeps on the sofa"),
    ("b2", "b.pdf", "我们在北京学习机器翻译"),
    ("b3", "b.pdf", "   "),
    ("b4", "b.pdf", None),
]


def chunks(session: Session, rows: list[tuple[Any, ...]] = CHUNKS, name: str = "chunks") -> None:
    session.spark.createDataFrame(rows, "id string, path string, content string").createOrReplaceTempView(name)


def saved(session: Session, how: str, options: str = "") -> dict[str, Any]:
    (row,) = rows_of(session, f"save {how} {options};")
    return row


def test_each_distinct_text_is_embedded_once_and_comes_back(session: Session, provider: Provider) -> None:
    chunks(session)
    provider.asked.clear()
    row = saved(session, 'overwrite chunks as index.`kb` where text="content" and model="emb" and key="id"')
    assert (row["rows"], row["without_text"], row["failed"]) == (6, 2, 0)
    assert sorted(texts(provider.asked)) == sorted({text for *_, text in CHUNKS if text and text.strip()})
    found = {row["id"]: row for row in rows_of(session, "load index.`kb` as t;")}
    assert found["a1"]["vector"] == pytest.approx(vector("the cat sleeps on the sofa"), abs=1e-6)
    assert found["b3"]["vector"] is None
    assert found["b4"]["vector"] is None
    assert set(found["a1"]) == {"id", "path", "content", "vector"}
    (shown,) = [one for one in rows_of(session, "!show indexes;") if one["name"] == "kb"]
    assert (shown["rows"], shown["model"], shown["key"]) == (6, "emb", "id")


def test_search_as_a_table_and_lateral(session: Session) -> None:
    chunks(session)
    saved(session, 'overwrite chunks as index.`s` where text="content" and model="emb" and key="id"')
    rows = rows_of(
        session, "select * from vector_search(index => 's', query => 'a cat sleeps', num_results => 2) as t;"
    )
    assert [row["id"] for row in rows] == ["a1", "b1"]
    assert set(rows[0]) == {"id", "path", "content", "search_score"}
    session.spark.createDataFrame(
        [(1, "the cat sleeps"), (2, "E1234"), (3, "机器翻译"), (4, None), (5, " ")], "n int, question string"
    ).createOrReplaceTempView("questions")
    for kind, best in {"full_text": {1: "a1", 2: "a2", 3: "b2"}, "hybrid": {1: "a1", 2: "a2", 3: "b2"}}.items():
        rows = rows_of(
            session,
            f"""select q.n, hit.id, hit.search_score from questions as q, lateral vector_search(index => 's',
            query => q.question, num_results => 1, query_type => '{kind}') as hit order by q.n as t;""",
        )
        assert {row["n"]: row["id"] for row in rows} == best
