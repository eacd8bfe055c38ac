"""From the command to the first answer of a model: `python -m bench.spine`.

Each start is a process of its own, cold. Bare PySpark stands beside it: the least that a first row can cost here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlllm.session import Session
from tests.tiny import make_tiny_model

from . import report

BARE = "from pyspark.sql import SparkSession; SparkSession.builder.master('local[*]').getOrCreate().range(1).collect()"
SCRIPT = """
run command as LLM.`` where action="infer" and udfName="answer" and localModelDir="{model}" as deployed;
select llm_result(answer(llm_param(map("instruction", "hello", "max_tokens", "8")))) as a from range(1);
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = make_tiny_model(Path(folder, "model"))
        bare = _seconds([sys.executable, "-c", BARE])
        started = time.perf_counter()
        shown = subprocess.run(
            [sys.executable, "-m", "bench.spine", str(model)], check=True, stdout=subprocess.PIPE, text=True
        )
        whole = time.perf_counter() - started
    parts: dict[str, float] = json.loads(shown.stdout.splitlines()[-1])
    closing = parts.pop("stop")
    to_first_row = whole - closing
    rows = [
        *((name.replace("_", " "), seconds, seconds / bare) for name, seconds in parts.items()),
        ("command to first row", to_first_row, to_first_row / bare),
        ("stop", closing, closing / bare),
        ("bare PySpark, start to first row", bare, 1.0),
    ]
    report.table("From the command to the first answer", ("part", "seconds", "x bare PySpark"), rows)
    report.last_line({**parts, "first_row": to_first_row, "stop": closing, "bare_pyspark": bare})


def child(model: str) -> None:
    """The same work with a clock between its parts."""
    parts: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        parts[name], clock = now - clock, now

    session = Session()
    session.spark.range(1).collect()
    lap("spark")
    _ = session.serving.endpoint
    lap("ray_and_gateway")
    deploy, select = SCRIPT.format(model=model).strip().splitlines()
    session.run(deploy)
    lap("model_load")
    first = session.run(select)
    assert first is not None
    assert first.rows()[0].a is not None
    lap("first_call")
    session.close()
    lap("stop")
    print(json.dumps(parts))


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    child(sys.argv[1]) if len(sys.argv) > 1 else main()
