"""Byzer-LLM's storage client on an index."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlllm.errors import OptionError, TableError
from tests.index.embedding import embeds, texts, vector
from tests.index.rows import Row, about, overwrite
from tests.serving import provider as fake

ROWS: list[Row] = [
    ("1", "a", "the cat sleeps on the sofa", 2019),
    ("2", "a", "error E1234 means that the disk is full", 2020),
    ("3", "b", "a cat and a dog", 2021),
]


def test_the_guide_s_script_gets_a_vector_and_queries_find_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlllm.compat import byzerllm  # noqa: F401 (which installs its names)

    monkeypatch.setenv("SQLLLM_HOME", str(tmp_path))
    overwrite(tmp_path / "indexes", ROWS, about())
    (tmp_path / "indexes" / "kb.lance").rename(tmp_path / "indexes" / "byzerai_store.memory.memory.lance")
    with fake.serve() as provider:
        provider.answers = embeds
        monkeypatch.setenv("SQLLLM_BASE_URL", f"{provider.url}/v1")
        space: dict[str, object] = {}
        exec(  # the guide's own lines
            "from byzerllm.apps.byzer_storage.simple_api import ByzerStorage, DataType, FieldOption,SortOption\n"
            'storage = ByzerStorage("byzerai_store", "memory", "memory")\n'
            'v = storage.emb("你好")\n'
            'hits = storage.query_builder().set_vector_query("a cat", fields=["vector"])'
            '.set_search_query("dog", fields="content").and_filter().add_condition("doc", "b").build()'
            ".set_limit(2).execute()\n"
            'words = storage.query_builder().set_search_query("E1234", "content").set_fields(["id"]).execute()\n',
            space,
        )
        assert space["v"] == pytest.approx(vector("你好"))
        assert texts(provider.asked) == ["你好", "a cat"]
    assert [hit["id"] for hit in space["hits"]] == ["3"]  # type: ignore[attr-defined]
    assert [set(hit) for hit in space["words"]] == [{"id", "search_score"}]  # type: ignore[attr-defined]


def test_what_storage_cannot_do_says_what_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlllm.compat.storage import ByzerStorage

    monkeypatch.setenv("SQLLLM_HOME", str(tmp_path))
    storage = ByzerStorage(None, "d", "t")
    with pytest.raises(OptionError, match="run command as Retrieval"):
        storage.write_builder()
    with pytest.raises(OptionError, match="set_search_query or set_vector_query first"):
        storage.query_builder().execute()
    with pytest.raises(TableError, match=r"there is no index byzerai_store\.d\.t"):
        storage.query_builder().set_search_query("x").execute()
