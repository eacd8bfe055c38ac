"""A million rows through a model function, on the oracle: `python -m bench.million [--full]`.

A tenth of the rows repeat a request, a hundredth have no answer. Each size runs in a process of its own, from an empty
store. Counts must be exact; the memory of every process is looked at each half second and should not grow with rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

from . import report

SIZES = (10_000, 100_000)
FULL = (*SIZES, 1_000_000)
SCRIPT = """
select id, m(llm_param(map("instruction", concat("Is number ", id % {distinct}, " even or odd?")))) as q
from range({rows}) as answered;
select count(*) as rows, count(llm_result(q)) as answers, count(llm_error(q)) as errors,
       count(distinct llm_result(q)) as texts from answered as counted;
"""


def answer(prompt: str) -> str | None:
    """The oracle's: a hundredth of the numbers have none."""
    number = int(prompt.split()[2])
    return None if number % 100 == 99 else f"{number} is {'odd' if number % 2 else 'even'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="a million rows, too")
    parser.add_argument("--store", choices=("on", "off"), default="on", help="whether answers are kept")
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rows:
        print(json.dumps(run(given.rows, given.store)))
        return
    found = {}
    for rows in FULL if given.full else SIZES:
        command = [sys.executable, "-m", "bench.million", "--rows", str(rows), "--store", given.store]
        shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[rows] = json.loads(shown.splitlines()[-1])
    columns = ("rows", "calls", "errors", "seconds", "microseconds a row", "MiB Spark's JVM", "MiB Python", "MiB Ray")
    report.table(
        "Rows through the model function",
        columns,
        [
            (f"{rows:,}", one["calls"], one["errors"], one["seconds"], one["microseconds"], *one["memory"].values())
            for rows, one in found.items()
        ],
    )
    least, most = min(found), max(found)
    report.last_line(
        {
            "rows": most,
            "exact": all(one["exact"] for one in found.values()),
            "microseconds": {str(rows): one["microseconds"] for rows, one in found.items()},
            "memory_growth": round(sum(found[most]["memory"].values()) / sum(found[least]["memory"].values()), 2),
        }
    )


def run(rows: int, store: str) -> dict[str, object]:
    """One size: counts, seconds and the most memory of each kind of process (MiB)."""
    from sqlllm.session import Session
    from sqlllm.settings import Settings

    with tempfile.TemporaryDirectory() as home:
        settings = Settings.load(
            home=Path(home),
            spark={"master": "local[2]", "driver_memory": "1g"},
            llm={"store": store},
            allow={"python": True},
        )
        with Session(settings) as session:
            session.run(
                'run command as LLM.`` where action="infer" and pretrainedModelType="oracle/function"'
                ' and `backend.function`="bench.million:answer" and udfName="m";'
                'select count(m(llm_param(map("instruction", "Is number 0 even or odd?")))) from range(1) as warm;'
            )
            session.meter.tell()
            watch = _Watch()
            started = time.perf_counter()
            distinct = rows * 9 // 10
            result = session.run(SCRIPT.format(rows=rows, distinct=distinct))
            assert result is not None
            (row,) = result.rows()
            seconds = time.perf_counter() - started
            memory = watch.stop()
            used = session.meter.tell()
            assert used is not None
        errors = sum(1 for number in range(rows) if number % distinct % 100 == 99)
        texts = distinct - distinct // 100
        exact = (row.rows, row.answers, row.errors, row.texts) == (rows, rows - errors, errors, texts)
        return {
            "calls": used.calls,
            "errors": row.errors,
            "seconds": seconds,
            "microseconds": round(seconds / rows * 1e6, 1),
            "memory": memory,
            "exact": exact and used.calls + used.cached + used.joined == distinct,
        }


class _Watch:
    """The most memory that the processes under this one have had, by kind."""

    def __init__(self) -> None:
        self._most: defaultdict[str, float] = defaultdict(float)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> dict[str, float]:
        self._stopped.set()
        self._thread.join()
        return {kind: round(self._most[kind]) for kind in ("jvm", "python", "ray")}

    def _run(self) -> None:
        while not self._stopped.wait(0.5):
            now: defaultdict[str, float] = defaultdict(float)
            for pid in _below(os.getpid()):
                try:
                    name = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                except (OSError, IndexError):  # ended since
                    continue
                kind = "jvm" if "java" in name.split(" ")[0] else "python" if "pyspark" in name else "ray"
                now[kind if pid != os.getpid() else "python"] += pages * os.sysconf("SC_PAGE_SIZE") / 2**20
            for kind, size in now.items():
                self._most[kind] = max(self._most[kind], size)


def _below(pid: int) -> list[int]:
    """The process and all that it has started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    threads = [path for path in Path(f"/proc/{pid}/task").glob("*/children") if path.parent.name != str(pid)]
    for path in threads:
        try:
            children += path.read_text().split()
        except OSError:
            continue
    return [pid, *(found for child in children for found in _below(int(child)))]


if __name__ == "__main__":
    main()
