"""Indexes: `python -m bench.retrieval`, and beside Chroma with `--chroma PYTHON`, where `pip install chromadb` was run.

Chunks of 384 dimensions, whose vectors are made and not embedded, are saved as an index and searched: recall of the ten
nearest against exact search, the median of single searches, searches a second of many at once. With `--grow ROWS`
another index is built, to compare what a row costs and what memory is taken.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from . import report

DIMENSIONS, GROUPS, NEAREST, PART = 384, 1000, 10, 50_000
Floats = np.ndarray[Any, np.dtype[np.float32]]

# Chroma in a process of its own: its pins are not ours.
_CHROMA = """
import json, sys, time
import chromadb, numpy as np
folder, vectors, questions = sys.argv[1:]
vectors, questions = np.load(vectors, mmap_mode="r"), np.load(questions)
client = chromadb.PersistentClient(folder)
begun = time.perf_counter()
made = client.create_collection("manual", configuration={"hnsw": {"space": "cosine"}})
for start in range(0, len(vectors), 5000):
    part = np.asarray(vectors[start:start + 5000])
    ids = [str(start + n) for n in range(len(part))]
    made.add(ids=ids, embeddings=part, documents=[f"chunk {one} of the manual" for one in ids])
built = time.perf_counter() - begun
made.query(query_embeddings=questions[:1], n_results=10)
begun = time.perf_counter()
found = made.query(query_embeddings=questions, n_results=10)["ids"]
print(json.dumps({"build": built, "search": time.perf_counter() - begun, "found": found}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Indexes.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--grow", type=int, default=0, metavar="ROWS")
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--chroma", default="", metavar="PYTHON", help="an interpreter that has chromadb")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = measure(folder, given.rows, given.questions, given.chroma)
        if given.grow:
            seconds, memory = build(folder / "more", given.grow)
            small = figures.pop("seconds") / given.rows
            figures["growth"] = round(seconds / given.grow / small, 2)
            report.table(
                "Growth",
                ("rows", "microseconds a row", "MiB at most"),
                [(given.rows, 1e6 * small, figures["mib"]), (given.grow, 1e6 * seconds / given.grow, memory)],
            )
    report.last_line(figures)


def measure(folder: Path, rows: int, count: int, chroma: str) -> dict[str, Any]:
    """Build and search one index, and Chroma's if there is an interpreter for it."""
    from sqlllm.retrieval import dataset
    from sqlllm.retrieval.search import Search

    seconds, memory = build(folder / "ours", rows)
    vectors, questions = np.load(folder / "ours" / "vectors.npy", mmap_mode="r"), made(count, 1)
    right = exact(vectors, questions)
    opened = dataset.find(str(folder / "ours" / "kb.lance"))
    assert opened is not None
    search = Search(opened.uri, opened.version, "ann", NEAREST, columns=("id",))
    times, found = [], []
    for question in questions:
        begun = time.perf_counter()
        found.append([hit["id"] for hit in search.run(None, question)])
        times.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    list(search.run_all([(None, question, None) for question in questions]))
    searched = time.perf_counter() - begun
    figures = {
        "recall_at_10": round(recall(found, right), 4),
        "p50_ms": round(1e3 * statistics.median(times), 2),
        "build_rows_per_s": round(rows / seconds),
        "searches_per_s": round(count / searched),
        "mib": memory,
        "seconds": seconds,
    }
    shown = [("SQLLLM", seconds, rows / seconds, figures["recall_at_10"], figures["p50_ms"], count / searched)]
    if chroma:
        np.save(folder / "questions.npy", questions)
        asked = [chroma, "-c", _CHROMA, str(folder / "chroma"), str(folder / "ours" / "vectors.npy")]
        told = subprocess.run([*asked, str(folder / "questions.npy")], capture_output=True, text=True, check=True)
        theirs = json.loads(told.stdout.splitlines()[-1])
        figures["vs_chroma_build"] = round(theirs["build"] / seconds, 2)
        figures["vs_chroma_search"] = round(theirs["search"] / searched, 2)
        same = recall([[int(one) for one in ids] for ids in theirs["found"]], right)
        shown.append(("Chroma", theirs["build"], rows / theirs["build"], same, float("nan"), count / theirs["search"]))
    report.table(f"{rows:,} chunks", ("", "build s", "rows/s", "recall@10", "p50 ms", "searches/s"), shown)
    return figures


def made(rows: int, seed: int) -> Floats:
    """Vectors in groups, as those of texts are: of each group near each other."""
    centers = np.random.default_rng(0).normal(size=(GROUPS, DIMENSIONS)).astype(np.float32)
    drawn = np.random.default_rng(seed)
    found = centers[drawn.integers(0, GROUPS, rows)]
    found += drawn.normal(size=(rows, DIMENSIONS)).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def exact(vectors: Floats, questions: Floats) -> list[list[int]]:
    """The places of the nearest vectors of each question."""
    scores = np.concatenate([questions @ vectors[start : start + PART].T for start in range(0, len(vectors), PART)], 1)
    return [list(map(int, np.argsort(-row)[:NEAREST])) for row in scores]


def recall(found: list[list[int]], right: list[list[int]]) -> float:
    """The share of the nearest that is found."""
    hits = sum(len(set(one) & set(other)) for one, other in zip(found, right, strict=True))
    return hits / (NEAREST * len(right))


def build(folder: Path, rows: int) -> tuple[float, int]:
    """Save an index of made vectors; the seconds that this takes once Spark runs, and MiB of all processes at most."""
    import sqlllm

    folder.mkdir()
    (folder / "table").mkdir()
    whole = np.lib.format.open_memmap(folder / "vectors.npy", mode="w+", dtype=np.float32, shape=(rows, DIMENSIONS))
    for number, start in enumerate(range(0, rows, PART)):
        part = made(min(PART, rows - start), number + 2)
        whole[start : start + len(part)] = part
        ids = np.arange(start, start + len(part))
        columns = {
            "id": ids,
            "content": [f"chunk {one} of the manual, topic {one % 997}" for one in ids],
            "v": pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), DIMENSIONS).cast(pa.list_(pa.float32())),
        }
        pq.write_table(pa.table(columns), folder / "table" / f"{number}.parquet", row_group_size=10_000)
    whole.flush()
    with sqlllm.connect() as session:
        session.override("allow.folders", str(folder))
        session.run(f"load parquet.`{folder}/table` as chunks; select count(*) from chunks as n;")
        with peak() as memory:
            begun = time.perf_counter()
            session.run(f'save overwrite chunks as index.`{folder}/kb` where key="id" and vector="v";')
            seconds = time.perf_counter() - begun
    return seconds, max(memory)


@contextmanager
def peak() -> Iterator[list[int]]:
    """MiB that this process and its children take, read four times a second."""
    done, found = threading.Event(), [0]

    def read() -> None:
        while not done.wait(0.25):
            found.append(sum(map(_mib, [psutil.Process(), *psutil.Process().children(recursive=True)])))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def _mib(process: psutil.Process) -> int:
    try:
        told = process.memory_full_info()
    except psutil.Error:
        return 0
    return int(told.uss) >> 20


if __name__ == "__main__":
    sys.exit(main())
