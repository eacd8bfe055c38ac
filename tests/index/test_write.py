"""What an index holds, whoever writes it and wherever a writer dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from types import FrameType

import pyarrow as pa
import pytest

from sqlllm.errors import OptionError, TableError
from sqlllm.retrieval import care
from sqlllm.retrieval import dataset as index
from sqlllm.retrieval.search import Search

from .rows import Row, about, append, held, opened, overwrite, searched, table

OLD: list[Row] = [(f"d{doc}-{n}", f"d{doc}", f"old text {n} of {doc}", 2020) for doc in range(4) for n in range(5)]
NEW: list[Row] = [(f"d1-{n}", "d1", f"new text {n}", 2021) for n in range(3)]


def test_a_document_that_is_saved_again_with_fewer_chunks_has_the_new_ones_only(tmp_path: Path) -> None:
    told = about(document="doc")
    overwrite(tmp_path, OLD, told)
    counts = append(tmp_path, NEW, told)
    assert counts == {"num_inserted_rows": 0, "num_updated_rows": 3, "num_deleted_rows": 2}
    found = held(tmp_path)
    assert {key: text for key, text in found.items() if key.startswith("d1")} == {row[0]: row[2] for row in NEW}
    assert len(found) == 18


def test_rows_of_a_known_key_are_replaced_and_others_stay(tmp_path: Path) -> None:
    overwrite(tmp_path, OLD)
    append(tmp_path, [*NEW, ("x", "d9", "more", 1)])
    found = held(tmp_path)
    assert len(found) == 21
    assert found["d1-0"] == "new text 0"
    assert found["d1-4"] == "old text 4 of 1"


def test_an_append_makes_an_index_that_is_not_there(tmp_path: Path) -> None:
    assert append(tmp_path, NEW)["num_inserted_rows"] == 3
    assert len(held(tmp_path)) == 3


def _context() -> multiprocessing.context.ForkServerContext:
    """Processes that have Lance, but none of its threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lance", "tests.index.rows"])
    return context


def _writer(folder: Path, start: multiprocessing.synchronize.Event) -> None:  # type: ignore[name-defined]
    start.wait()
    for number in range(8):
        append(folder, [(f"k{number}", "d", f"text {number} of {os.getpid()}", 1)])


def test_two_writers_of_the_same_new_keys_leave_one_row_each(tmp_path: Path) -> None:
    context = _context()
    start = context.Event()
    writers = [context.Process(target=_writer, args=(tmp_path, start)) for _ in range(2)]
    for one in writers:
        one.start()
    start.set()
    for one in writers:
        one.join()
    assert [one.exitcode for one in writers] == [0, 0]
    assert len(held(tmp_path)) == 8


def test_two_writers_that_both_began_from_an_old_version_leave_one_row(tmp_path: Path) -> None:
    """As on object storage, where no lock makes one wait for the other."""
    overwrite(tmp_path, OLD)
    one, other = opened(tmp_path), opened(tmp_path)
    for dataset in (one, other):
        source = table([("same", "d", f"version {id(dataset)}", 1)], about())
        index.merge(dataset, about(), pa.Table.from_batches(source))
    assert len(held(tmp_path)) == len(OLD) + 1


def _dies(folder: Path, what: str, calls: int) -> None:
    """Write, and die at one of the calls into Lance."""
    left = calls

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal left
        if event in ("call", "c_call") and "/lance/" in frame.f_code.co_filename:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    index.lance()
    sys.setprofile(count)
    if what == "overwrite":
        overwrite(folder, NEW)
    elif what == "append":
        append(folder, NEW, about(document="doc"))
    else:
        for number in range(20):
            append(folder, [(f"more{number}", "more", f"text {number}", 1)])
    sys.setprofile(None)
    os._exit(3)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["overwrite", "append", "compaction"])
def test_a_writer_that_is_killed_leaves_the_old_index_or_the_new_one(tmp_path: Path, what: str) -> None:
    overwrite(tmp_path, OLD, about(document="doc") if what == "append" else about())
    old = held(tmp_path)
    replaced = {key: text for key, text in old.items() if not key.startswith("d1")} | {row[0]: row[2] for row in NEW}
    new = {"overwrite": {row[0]: row[2] for row in NEW}, "append": replaced}.get(what, {})
    context, calls, outcomes = _context(), 1, set[bool]()
    while True:
        child = context.Process(target=_dies, args=(tmp_path, what, calls))
        child.start()
        child.join()
        found = held(tmp_path)
        if what == "compaction":
            more = {key: text for key, text in found.items() if key not in old}
            assert found == {**old, **{f"more{n}": f"text {n}" for n in range(len(more))}}
        else:
            assert found in (old, new)
            (word, key) = ("new text 2", "d1-2") if found == new else ("old text 2 of 1", "d1-2")
            dataset = searched(tmp_path)
            assert Search(dataset.uri, dataset.version, "full_text", 1).run(word)[0]["id"] == key
            outcomes.add(found == new)
        if child.exitcode == 3:
            break
        assert child.exitcode == -signal.SIGKILL
        calls = 2 * calls + 1
    assert outcomes in ({False, True}, set())


@pytest.mark.slow
@pytest.mark.parametrize("appends", [120, pytest.param(1000, marks=pytest.mark.rare)])
def test_files_and_versions_stay_bounded_over_many_appends(tmp_path: Path, appends: int) -> None:
    overwrite(tmp_path, OLD)
    for number in range(appends):
        append(tmp_path, [(f"n{number}", "n", f"text {number}", number)])
    dataset = opened(tmp_path)
    assert dataset.count_rows() == len(OLD) + appends
    told = care.sizes(dataset)
    assert told["files"] <= 2 * 16
    assert told["versions"] <= care.VERSIONS + 32
    assert sum(1 for one in (tmp_path / "kb.lance").rglob("*") if one.is_file()) < 1500
    found = dataset.to_table(columns=["id"], filter=f"id = 'n{appends - 1}'").num_rows
    assert found == 1


def test_another_model_is_refused_and_both_are_named() -> None:
    with pytest.raises(OptionError, match="index kb has model='emb', not 'other'"):
        index.check_same(about(), about(model="other"), "kb")


def test_vectors_of_another_size_are_refused() -> None:
    with pytest.raises(TableError, match="a vector has 3 numbers, and those of the index have 32"):
        table([("a", "d", "x", 1)], about(), [[1.0, 2.0, 3.0]])


def test_rows_that_were_embedded_for_an_older_index_do_not_join_a_new_one(tmp_path: Path) -> None:
    """Another script wrote the index anew, with another model, while they were embedded."""
    overwrite(tmp_path, OLD, about(model="other"))
    with pytest.raises(OptionError, match="index kb has model='other', not 'emb'"):
        append(tmp_path, NEW)
    assert len(held(tmp_path)) == len(OLD)


def test_many_new_rows_are_indexed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each search would read all of them until some later append."""
    monkeypatch.setattr(care, "_UNCOVERED", 5)
    overwrite(tmp_path, OLD)

    def uncovered() -> int:
        return int(opened(tmp_path).stats.index_stats("sqlllm_words")["num_unindexed_rows"])

    append(tmp_path, NEW)
    assert uncovered() == 3
    append(tmp_path, [(f"x{n}", "x", f"more text {n}", 1) for n in range(4)])
    assert uncovered() == 0
    assert len(held(tmp_path)) == len(OLD) + 4
