"""Python code over the shards of a table, in a process of its own: what `run t as Ray` starts.

The names are those of Byzer's bridge: `context`, `ray_context`, `RayContext`, `PythonContext`, also as modules
`pyjava.api.mlsql` and `pyjava`. A shard is a Parquet file of the table's rows. With a Ray cluster `foreach` and
`map_iter` run once a shard on it; without one they run here. The rows of `build_result` are the result.

This file runs as a script (`python shards.py FOLDER`) and imports nothing of the package.
"""

from __future__ import annotations

import ast
import json
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

Row = dict[str, Any]
FILE = "<python of the script>"
_BLOCK = 1024  # rows of a batch of the result


class DataServer:
    """A shard of the input table; Byzer's name, for there it is a socket."""

    def __init__(self, file: str, timezone: str = "UTC") -> None:
        self.file = file
        self.timezone = timezone

    def rows(self) -> Iterator[Row]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.file) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()


class PythonContext:
    """`context`: the input rows and the result."""

    def __init__(self, shards: list[DataServer], conf: dict[str, str], folder: Path) -> None:
        self.conf = conf
        self._shards = shards
        self._folder = folder
        self.rayContext = RayContext(self)
        self.built = False

    def fetch_once_as_rows(self) -> Iterator[Row]:
        """The rows of the input table, one by one."""
        for shard in self._shards:
            yield from shard.rows()

    def fetch_once_as_dataframe(self) -> Iterator[Any]:
        """The rows of the input table as pandas DataFrames, one a shard."""
        import pyarrow.parquet as pq

        for shard in self._shards:
            yield pq.read_table(shard.file).to_pandas()

    fetch_once = fetch_once_as_dataframe

    def fetch_once_as_batch_rows(self) -> Iterator[Iterator[Row]]:
        """The rows of the input table, an iterator for each shard."""
        return (shard.rows() for shard in self._shards)

    def noops_fetch(self) -> None:
        """Byzer's bridge had to be read to its end; nothing is to be done here."""

    def build_result(self, items: Iterable[Any], block_size: int = _BLOCK) -> None:
        """The result: rows as dicts, or a pandas DataFrame."""
        self.rayContext.files = [write(items, self._folder / "result-00000.parquet", block_size)]
        self.built = True

    build_result_from_dataframe = build_result


class RayContext:
    """`ray_context`: the shards of the input table, and functions over them."""

    def __init__(self, context: PythonContext) -> None:
        self.python_context = context
        self.files: list[str] = []
        self.is_in_mlsql = True

    @staticmethod
    def connect(names: dict[str, Any] | PythonContext, *_: Any, **__: Any) -> RayContext:
        """The one there is. Which Ray runs the functions is up to the session's settings, not to an address here."""
        context: PythonContext = names if isinstance(names, PythonContext) else names["context"]
        return context.rayContext

    def conf(self) -> dict[str, str]:
        return self.python_context.conf

    def data_servers(self) -> list[DataServer]:
        return self.python_context._shards

    @staticmethod
    def collect_from(servers: Iterable[DataServer]) -> Iterator[Row]:
        """The rows of these shards, one by one."""
        for server in servers:
            yield from server.rows()

    def collect(self) -> Iterator[Row]:
        """The rows of the input table, one by one."""
        return self.collect_from(self.data_servers())

    fetch_as_rows = collect

    def to_pandas(self) -> Any:
        """The input table as one pandas DataFrame."""
        import pandas

        return pandas.concat([*self.python_context.fetch_once_as_dataframe()], ignore_index=True)

    def to_dataset(self) -> Any:
        """The input table as a Dataset of Ray Data."""
        import ray.data

        return ray.data.read_parquet([server.file for server in self.data_servers()])

    def foreach(self, func: Callable[[Row], Row]) -> list[DataServer]:
        """The result is `func` of each row."""
        return self.map_iter(lambda rows: map(func, rows))

    def map_iter(self, func: Callable[[Iterator[Row]], Iterable[Row]]) -> list[DataServer]:
        """The result is what `func` makes of the rows of each shard."""
        folder = self.python_context._folder
        work = [
            (shard.file, str(folder / f"result-{number:05}.parquet"))
            for number, shard in enumerate(self.data_servers())
        ]
        if address := self.conf().get("rayAddress"):
            self.files = _on_ray(address, func, work)
        else:
            self.files = [_shard(func, source, target) for source, target in work]
        self.python_context.built = True
        return [DataServer(file) for file in self.files]

    def build_result(self, items: Iterable[Any], block_size: int = _BLOCK) -> None:
        self.python_context.build_result(items, block_size)


def write(items: Iterable[Any], target: Path, block_size: int = _BLOCK) -> str:
    """Write rows, which are dicts, or a pandas DataFrame to a Parquet file. A block is held in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if hasattr(items, "to_dict"):
        pq.write_table(pa.Table.from_pandas(items, preserve_index=False), target)
        return str(target)
    rows = iter(items)
    writer, schema = None, None
    while block := list(islice(rows, block_size)):
        wrong = next((row for row in block if not isinstance(row, dict)), None)
        if wrong is not None:
            raise TypeError(f"a row of the result is a dict, not {wrong!r}")
        schema = schema or pa.Table.from_pylist(block).schema
        table = pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in block], schema=schema)
        writer = writer or pq.ParquetWriter(target, schema)
        writer.write_table(table)
    if writer is None:
        pq.write_table(pa.table({}), target)
    else:
        writer.close()
    return str(target)


def _shard(func: Callable[[Iterator[Row]], Iterable[Row]], source: str, target: str) -> str:
    return write(func(DataServer(source).rows()), Path(target))


def _on_ray(address: str, func: Callable[..., Any], work: list[tuple[str, str]]) -> list[str]:
    """Each shard is a task of Ray's. The rows travel through Ray, for its nodes may not see the files."""
    import pyarrow.parquet as pq
    import ray

    @ray.remote
    def task(table: Any) -> Any:
        import pyarrow as pa

        rows = list(func(iter(table.to_pylist())))
        return pa.Table.from_pylist(rows)

    ray.init(address, log_to_driver=True, configure_logging=False, namespace="sqlllm")
    try:
        running = [task.remote(pq.read_table(source)) for source, _ in work]
        for reference, (_, target) in zip(running, work, strict=True):
            pq.write_table(ray.get(reference), target)
    finally:
        ray.shutdown()
    return [target for _, target in work]


def run(folder: Path) -> dict[str, Any]:
    """Run `code.py` of the folder over its shards: the files of the result, or what is wrong and in which line."""
    job = json.loads((folder / "job.json").read_text())
    context = PythonContext([DataServer(file) for file in job["shards"]], job["conf"], folder)
    names: dict[str, Any] = {
        "__name__": "__main__", "context": context, "ray_context": context.rayContext,
        "RayContext": RayContext, "PythonContext": PythonContext,
    }  # fmt: skip
    _as_pyjava()
    try:
        exec(compile(ast.parse((folder / "code.py").read_text(), FILE), FILE, "exec"), names)  # noqa: S102 - it is allowed
    except SyntaxError as error:
        return {"error": str(error.msg), "kind": "syntax", "line": error.lineno}
    except Exception as error:  # noqa: BLE001 - whatever the script's code raises
        cause = getattr(error, "cause", None) or error  # of a task of Ray's
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == FILE]
        return {"error": f"{type(cause).__name__}: {cause}", "kind": "run", "line": lines[-1] if lines else None}
    return {"files": context.rayContext.files, "built": context.built}


def _as_pyjava() -> None:
    """Scripts of Byzer's import these names from the package `pyjava`, unless it is installed."""
    package, api, mlsql = (types.ModuleType(name) for name in ("pyjava", "pyjava.api", "pyjava.api.mlsql"))
    mlsql.__dict__.update(RayContext=RayContext, PythonContext=PythonContext, DataServer=DataServer)
    package.__dict__.update(api=api, __path__=[])
    api.__dict__.update(mlsql=mlsql, __path__=[], RayContext=RayContext, PythonContext=PythonContext)
    sys.modules.update({"pyjava": package, "pyjava.api": api, "pyjava.api.mlsql": mlsql})


if __name__ == "__main__":
    here = Path(sys.argv[1])
    sys.path.append(str(Path.cwd()))
    (here / "done.json").write_text(json.dumps(run(here)))
