"""What Spark's SQL knows, as data: `python scripts/spark_words.py > sqlllm/dialect/spark.json` asks Spark (12 minutes).

Of each function: how it is called, what it does, the least and the most number of arguments (-1: any). The numbers are
tried, not read: Spark analyses a call with each number of arguments.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any

import pyspark
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

_MOST = 12  # arguments that are tried; what takes as many takes any number
_ANALYSIS = "org.apache.spark.sql.catalyst.analysis"


def main() -> None:
    logging.disable(logging.CRITICAL)  # PySpark logs each error with its stack
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    functions: dict[str, list[object]] = {}
    for registry, call in (("FunctionRegistry", "select {}"), ("TableFunctionRegistry", "select * from {}")):
        for name, usage in _usages(spark, registry).items():
            functions.setdefault(name, [*_described(name, usage), *_arity(spark, call, name)])
    found = {
        "spark": pyspark.__version__,
        "functions": dict(sorted(functions.items())),
        "keywords": sorted(row[0].lower() for row in spark.sql("select keyword from sql_keywords()").collect()),
        "settings": sorted(row[0] for row in spark.sql("set -v").select("key").collect()),
    }
    sys.stdout.write(_written(found))


def _usages(spark: SparkSession, registry: str) -> dict[str, str]:
    known: Any = getattr(spark._jvm, f"{_ANALYSIS}.{registry}").builtin()
    names = known.listFunction().iterator()
    found = {}
    while names.hasNext():
        name = names.next()
        if re.fullmatch(r"[a-z]\w*", text := name.funcName()):
            found[text] = known.lookupFunction(name).get().getUsage()
    return dict(sorted(found.items()))


def _described(name: str, usage: str) -> tuple[str, str]:
    """How a function is called, and the first sentence about it."""
    text = " ".join(usage.replace("_FUNC_", name).split())
    call, dash, about = text.partition(" - ")
    if not dash or not call.startswith(name):
        call, about = "", text
    return call, re.split(r"(?<=[^.][\w)`'])\.(?: |$)", about, maxsplit=1)[0]


def _arity(spark: SparkSession, call: str, name: str) -> tuple[int, int]:
    calls = [call.format(f"{name}({', '.join(['null'] * count)})") for count in range(_MOST + 1)]
    taken = [count for count, sql in enumerate(calls) if _takes(spark, sql)]
    if not taken:
        return 0, -1
    return taken[0], -1 if taken[-1] == _MOST else taken[-1]


def _takes(spark: SparkSession, sql: str) -> bool:
    try:
        spark.sql(sql)
    except PySparkException as error:
        return not str(error.getCondition()).startswith("WRONG_NUM_ARGS")
    return True


def _written(found: dict[str, Any]) -> str:
    """As JSON with a line for each function."""
    head = json.dumps({key: value for key, value in found.items() if key != "functions"}, ensure_ascii=False)
    rows = found["functions"].items()
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(row, ensure_ascii=False)}" for name, row in rows)
    return f'{head[:-1]},\n"functions": {{\n{lines}\n}}}}\n'


if __name__ == "__main__":
    main()
