"""Where answers are kept: the file, a real Redis server, keys and fingerprints."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sqlllm.jobs.serving import ModelSpec
from sqlllm.jobs.serving.gateway.store import Store, StoreError, is_deterministic, keys
from sqlllm.jobs.serving.gateway.store_redis import RedisStore
from sqlllm.jobs.serving.gateway.store_sqlite import SQLiteStore
from sqlllm.jobs.serving.worker.fingerprint import fingerprint

T = TypeVar("T")
DAY = 86_400


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server of its own."""
    pytest.importorskip("redis")
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server on this machine")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    yield f"redis://127.0.0.1:{port}/0"
    server.terminate()
    server.wait()


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_answers_are_found_again(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    def opened() -> Store:
        if kind == "redis":
            return RedisStore(request.getfixturevalue("redis_url"), ttl=0)
        return SQLiteStore(tmp_path / "a.db", max_bytes=2**20, ttl=0)

    async def check() -> None:
        store, many = opened(), {f"key {number}".encode(): b"x" * 100 for number in range(1200)}
        await store.put({b"a": b"1", b"b": b"\x00\xff"})
        await store.put(many)
        await store.put({})
        assert await store.get([]) == {}
        assert await store.get([b"a", b"c", b"b"]) == {b"a": b"1", b"b": b"\x00\xff"}
        await store.put({b"a": b"2"})
        await store.close()
        again = opened()  # as after a restart
        assert await again.get([b"a"]) == {b"a": b"2"}
        assert await again.get(list(many)) == many
        await again.close()

    run(check())


def test_the_least_recently_used_go_first_and_the_file_stays_small(tmp_path: Path) -> None:
    async def check() -> None:
        clock = Clock()
        store = SQLiteStore(tmp_path / "a.db", max_bytes=2**20, ttl=0, clock=clock)
        await store.put({b"loved": b"x" * 1000, b"forgotten": b"x" * 1000})
        for batch in range(100):
            clock.now += DAY + 1
            await store.put({f"{batch}-{number}".encode(): b"x" * 1000 for number in range(50)})
            assert await store.get([b"loved"])
        assert await store.get([b"forgotten"]) == {}
        assert len(await store.get([f"99-{number}".encode() for number in range(50)])) == 50
        await store.close()

    run(check())
    assert (tmp_path / "a.db").stat().st_size < 1.5 * 2**20


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "a.db", max_bytes=2**20, ttl=0)
    run(store.put({b"a": b"1"}))
    files = list(tmp_path.iterdir())
    assert len(files) == 3  # with the log of writes
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_an_old_answer_is_none(tmp_path: Path) -> None:
    async def check() -> None:
        clock = Clock()
        store = SQLiteStore(tmp_path / "a.db", max_bytes=2**20, ttl=60, clock=clock)
        await store.put({b"a": b"1"})
        clock.now += 59
        assert await store.get([b"a"])
        clock.now += 2
        assert await store.get([b"a"]) == {}
        await store.close()

    run(check())


def test_what_was_put_survives_a_kill(tmp_path: Path) -> None:
    code = (
        "import asyncio, os, signal, sys; from pathlib import Path\n"
        "from sqlllm.jobs.serving.gateway.store_sqlite import SQLiteStore\n"
        "store = SQLiteStore(Path(sys.argv[1]), max_bytes=2**20, ttl=0)\n"
        "asyncio.run(store.put({b'a': b'1'})); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.db")], check=False)
    assert done.returncode == -9
    assert run(SQLiteStore(tmp_path / "a.db", max_bytes=2**20, ttl=0).get([b"a"])) == {b"a": b"1"}


def test_several_processes_share_a_file(tmp_path: Path) -> None:
    one, other = (SQLiteStore(tmp_path / "a.db", max_bytes=2**20, ttl=0) for _ in range(2))

    async def check() -> None:
        await asyncio.gather(
            *(store.put({f"{name}{n}".encode(): b"1"}) for n in range(50) for name, store in (("a", one), ("b", other)))
        )
        assert len(await one.get([f"{name}{n}".encode() for n in range(50) for name in "ab"])) == 100

    run(check())


def test_a_store_that_fails_says_so(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "a.db", max_bytes=2**20, ttl=0)
    with sqlite3.connect(tmp_path / "a.db") as db:
        db.execute("drop table answers")
    with pytest.raises(StoreError, match="no such table"):
        run(store.get([b"a"]))
    with pytest.raises(StoreError, match="6398"):
        run(RedisStore("redis://127.0.0.1:6398/0", ttl=0).get([b"a"]))


def test_a_disk_that_was_full_is_written_again(tmp_path: Path) -> None:
    async def check() -> None:
        store = SQLiteStore(tmp_path / "answers.db", max_bytes=2**30, ttl=0)
        store._db.execute("pragma max_page_count = 10")
        with pytest.raises(StoreError, match="full"):
            await store.put({b"a": bytes(2**17)})
        store._db.execute("pragma max_page_count = 1000")
        await store.put({b"b": b"kept"})
        assert await store.get([b"a", b"b"]) == {b"b": b"kept"}
        await store.close()

    asyncio.run(check())


def test_a_key_depends_on_all_that_an_answer_depends_on() -> None:
    def key(model: str = "m", messages: object = "hi", **params: object) -> bytes:
        (found,) = keys(model, params, [[{"role": "user", "content": messages}]])
        return found

    assert key(temperature=0, seed=1) == key(seed=1, temperature=0)
    different = [key(), key("n"), key(messages="ho"), key(temperature=0), key(temperature=1), key(max_tokens=3)]
    assert len(set(different)) == len(different)


@pytest.mark.parametrize(
    ("params", "expected"),
    [({"temperature": 0.0}, True), ({"temperature": 0.7}, False), ({}, False), ({"temperature": 1, "seed": 4}, True)],
)
def test_only_what_gives_the_same_answer_again_is_kept(params: dict[str, object], expected: bool) -> None:
    assert is_deterministic(params) is expected


def test_a_fingerprint_is_that_of_files_engine_and_options(tmp_path: Path) -> None:
    def made(name: str, weights: bytes, **more: Any) -> str:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(weights)
        (folder / ".cache").write_text(name)
        return fingerprint(ModelSpec(**{"name": name, "engine": "transformers", "model_path": str(folder), **more}))

    first = made("a", b"1")
    assert made("b", b"1", replicas=2, concurrency=7) == first
    others = [made("c", b"2"), made("d", b"1", engine="vllm"), made("e", b"1", engine_options={"dtype": "float16"})]
    assert len({first, *others}) == 4


def test_each_byte_of_a_large_file_counts(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    with weights.open("wb") as file:
        file.truncate(100 * 2**20)
    spec = ModelSpec(name="m", model_path=str(tmp_path))
    before = fingerprint(spec)
    with weights.open("r+b") as file:
        file.seek(70 * 2**20 + 1)
        file.write(b"\x01")
    assert fingerprint(spec) != before


def test_an_adapter_changes_with_its_base(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.safetensors").write_bytes(b"1")
    (tmp_path / "adapter").mkdir()
    config = f'{{"base_model_name_or_path": "{tmp_path / "base"}"}}'
    (tmp_path / "adapter" / "adapter_config.json").write_text(config)
    spec = ModelSpec(name="m", engine="transformers", model_path=str(tmp_path / "adapter"))
    before = fingerprint(spec)
    (tmp_path / "base" / "model.safetensors").write_bytes(b"2")
    assert fingerprint(spec) != before
