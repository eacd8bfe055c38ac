"""Calls made against the least possible: `python -m bench.calls`.

Each query runs in a session, with the planner, against a server that counts the prompts it gets, and once more with
the function that one writes first: a Python function that asks for every row Spark shows it. The queries, and the
queries that count the least calls, are in tests/planner/queries.sql and least.sql.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import httpx
import orjson
import pyarrow as pa

from sqlllm.session import Session
from sqlllm.settings import Settings
from sqlllm.udfs import model
from sqlllm.udfs.transport import Endpoint
from tests.planner.cases import TABLES, load
from tests.udfs.gateway import serve

from . import report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the query to begin with")
    parser.add_argument("--count", type=int, help="how many queries; default: all")
    arguments = parser.parse_args()
    cases = [*load(), *load("least.sql")][arguments.first :][: arguments.count]
    settings = Settings.load(spark={"master": "local[2]", "driver_memory": "1g"}, allow={"folders": "/", "shell": True})
    rows: list[tuple[str, int, int, float, int, float]] = []
    with serve() as server, Session(settings) as session:
        model.register(session.spark, "up", Endpoint(url=server.url, model="up"))
        _register_plain(session, server.url)
        session.run(TABLES)

        def calls(sql: str) -> int:
            server.requests.clear()
            result = session.run(sql + ";")
            assert result is not None
            result.rows()
            result.frame.unpersist()
            return len(server.prompts)

        for case in cases:
            (least,) = session.spark.sql(case.least).first() or (0,)
            session.models.add("up")
            made = calls(case.sql)
            session.models.clear()  # nothing but Spark looks at the function
            plain = calls(case.sql.replace("up(", "plain(").replace("identifier('up')", "identifier('plain')"))
            rows.append((case.name, least, made, _ratio(made, least), plain, _ratio(plain, least)))
    report.table("Calls", ("query", "least", "calls", "ratio", "plain function", "ratio of it"), rows)
    worst, plain_worst = max(row[3] for row in rows), max(row[5] for row in rows)
    report.last_line({"queries": len(rows), "worst_ratio": worst, "plain_worst_ratio": plain_worst})


def _ratio(calls: int, least: int) -> float:
    return (calls + 1) / (least + 1) if least == 0 else calls / least


def _register_plain(session: Session, url: str) -> None:
    """A function without any of ours: no distinct prompts, no planner; NULL is not asked."""
    from pyspark.sql.pandas.functions import arrow_udf

    def plain(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for batch in batches:
            prompts = [row and orjson.loads(row[0]).get("instruction") for row in batch.to_pylist()]
            asked = [prompt for prompt in prompts if prompt]
            messages = [[{"role": "user", "content": prompt}] for prompt in asked]
            reply = httpx.post(
                f"{url}/v1/chat/completions/batch", json={"model": "plain", "messages": messages}, trust_env=False
            ).json()
            said = {choice["index"]: (choice["message"] or {}).get("content") for choice in reply["choices"]}
            outputs = iter([orjson.dumps({"output": said[index]}).decode() for index in range(len(asked))])
            yield pa.array([[next(outputs)] if prompt else None for prompt in prompts], pa.list_(pa.string()))

    session.spark.udf.register("plain", arrow_udf(plain, "array<string>"))  # type: ignore[call-overload]


if __name__ == "__main__":
    main()
