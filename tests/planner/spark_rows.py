"""Random selects as written and as rewritten, on Spark: `python -m tests.planner.spark_rows --count 100`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from pyspark.errors import PySparkException

from sqlllm.dialect import RenderedSql
from sqlllm.places import Source
from sqlllm.session import Session, planning
from sqlllm.settings import Settings

from .duck import ROWS, Duck
from .random_selects import MODELS, TABLES, Selects


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after about so many")
    arguments = parser.parse_args()
    found, start, duck = Counter[str](), time.monotonic(), Duck()
    with Session(Settings.load(spark={"master": "local[2]", "driver_memory": "1g"})) as session:
        spark = session.spark
        spark.conf.set("spark.sql.shuffle.partitions", "2")
        for model in MODELS:
            spark.udf.register(model, lambda request, name=model: request and f"{name[0].upper()}{request}")
            session.models.add(model)
        for table in ROWS:
            frame = spark.createDataFrame(duck.rows(f"select * from {table}"), _schema(table))
            frame.createOrReplaceTempView(table)
        for seed in range(arguments.first, arguments.first + arguments.count):
            if time.monotonic() - start > arguments.seconds:
                break
            found[_compare(session, seed)] += 1
            sys.stdout.write(f"\r{found.total()} tried, {dict(found)} in {time.monotonic() - start:.0f} s")
            sys.stdout.flush()
    sys.stdout.write("\n")


def _schema(table: str) -> str:
    return ", ".join(f"{name} {'bigint' if kind == 'int' else 'string'}" for name, kind in TABLES[table].items())


def _compare(session: Session, seed: int) -> str:
    """What became of the select of `seed`: rewritten, as written, different, or skipped, which Spark refuses."""
    sql = Selects(seed).statement()
    try:
        frame = session.spark.sql(sql)
        expected = Counter(map(str, frame.collect()))
    except PySparkException:
        return "skipped"
    better = planning.planned(session, frame, RenderedSql(sql, Source(sql).place(0, len(sql))))
    if better.text == sql:
        sys.stdout.write(f"-- seed {seed}: as written, because {better.reason}\n{sql}\n")
        return "as written"
    if Counter(map(str, better.frame.collect())) != expected:
        sys.stdout.write(f"== different, seed {seed}\n{sql}\n-- becomes\n{better.text}\n")
        return "different"
    return "rewritten"


if __name__ == "__main__":
    main()
