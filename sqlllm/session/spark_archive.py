"""Spark's classes, loaded once and kept in a file that later starts map into memory.

Java's class data sharing (JEP 350): Spark then starts with half the CPU time. A JVM that finds the file made by another
Java, or for other jars, goes on without it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sqlllm.errors import SetupError

PATH = Path(sys.prefix, "share", "sqlllm", "spark.jsa")  # beside the pyspark that it is of

_SILENT = "-Xlog:cds=off -Xlog:cds+dynamic=off"  # Java would write its doubts to standard output
# What scripts do first: the classes that this loads are those that are kept.
_SCRIPT = """
set rows = '''{"id": 1, "text": "a", "day": "2026-01-01"}
{"id": 2, "text": "b", "day": "2026-01-02"}''';
load jsonStr.`rows` as t;
save overwrite t as parquet.`:{folder}/t.parquet`;
save overwrite t as csv.`:{folder}/t.csv` where header = "true";
load parquet.`:{folder}/t.parquet` as p;
load csv.`:{folder}/t.csv` where header = "true" as c;
select p.id, upper(p.text) as text, to_date(p.day) as day, row_number() over (order by p.id) as number,
       llm_result(array(to_json(named_struct('id', p.id)))) as result
  from p join c on p.id = c.id where p.id in (select id from t) order by p.id limit 10 as j;
select text, count(*) as n, count(distinct id) as ids, sum(id) as total from j group by text having n > 0 as g;
!show tables;
"""


def options() -> str:
    """The JVM's options that use the file, if there is one."""
    return f'"-XX:SharedArchiveFile={PATH}" {_SILENT}' if PATH.exists() else ""


def make() -> int:
    """Run Spark once and keep what it loads; gives the file's size in bytes. Raises SetupError if Java says no."""
    from sqlllm.settings import Settings, SparkSettings

    from .session import Session
    from .spark import start_spark

    PATH.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sqlllm-", dir=PATH.parent) as folder:
        new = Path(folder, PATH.name)
        spark = start_spark(
            SparkSettings(master="local[2]"), java_options=f'"-XX:ArchiveClassesAtExit={new}" {_SILENT}'
        )
        with Session(Settings.load(allow={"folders": folder}), spark=spark) as session:
            session.run(_SCRIPT.replace(":{folder}", folder))
        spark.range(10).mapInArrow(lambda batches: batches, "id bigint").collect()  # as a model's function is called
        gateway: Any = spark.sparkContext._gateway
        spark.stop()
        gateway.shutdown()
        gateway.proc.stdin.close()
        try:
            gateway.proc.wait(120)
        except subprocess.TimeoutExpired:
            gateway.proc.kill()
        if not new.exists():
            raise SetupError("Java kept no classes: its start-up stays as it is", cure="Run `sqlllm doctor`.")
        new.replace(PATH)
    return PATH.stat().st_size
