"""What a kill costs: `python -m bench.resume`.

5,000 rows go through a model that writes down every prompt it is asked. At half of them one process is killed (-9): the
driver, Spark's Python worker, the gateway or the engine. After a driver's death the script runs again; the others mend
within the run. Then the saved table is compared with what it should be, and the prompts with the rows.
"""

from __future__ import annotations

import argparse
import collections
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from . import report

ROWS = 5_000
_SECONDS_PER_CALL = 0.001
_TASKS, _IN_FLIGHT, _BATCH = 2, 16, 32
_DEADLINE = 300.0
_LOG = "BENCH_RESUME_LOG"
_SCRIPT = """
run command as LLM.`` where action="infer" and udfName="shout" and pretrainedModelType="oracle/function"
and backend.function="bench.resume:answer";
select id, concat('prompt ', id) as prompt from range(0, {rows}, 1, 4) as source;
select id, llm_result(shout(llm_param(map("instruction", prompt)))) as said from source as answered;
save overwrite answered as parquet.`{out}`;
"""


def answer(prompt: str) -> str:
    """The model: it writes the prompt down before it answers."""
    log = os.open(os.environ[_LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{prompt}\n".encode())
    os.close(log)
    time.sleep(_SECONDS_PER_CALL)
    return prompt.upper()


def child(folder: Path) -> None:
    """Run the script, in a process that may be killed."""
    from sqlllm.session import Session
    from sqlllm.settings import Settings

    settings = Settings.load(
        home=folder / "home",
        spark={"master": f"local[{_TASKS},4]", "driver_memory": "1g"},
        llm={"in_flight": _IN_FLIGHT, "batch_size": _BATCH},
        allow={"python": True, "folders": "/"},
    )
    with Session(settings) as session:
        session.run(_SCRIPT.format(rows=ROWS, out=folder / "out"))


def main() -> None:
    parser = argparse.ArgumentParser(description="What a kill costs.")
    parser.add_argument("--only", choices=_VICTIMS, help="kill only this one")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    rows = [_run(name) for name in _VICTIMS if arguments.only in (None, name)]
    report.table("Kills", ("killed", "runs", "lost", "doubled", "wrong", "calls", "wasted", "seconds"), rows)
    figures = {
        key: max(int(row[place]) for row in rows) for key, place in (("lost", 2), ("doubled", 3), ("wasted_calls", 6))
    }
    report.last_line({**figures, "window": _TASKS * _IN_FLIGHT * _BATCH})


def _run(victim: str) -> tuple[str, int, int, int, int, int, int, float]:
    with tempfile.TemporaryDirectory(prefix="sqlllm-resume-") as name:
        folder = Path(name)
        started, runs, killed = time.monotonic(), 0, False
        while runs < 3:
            runs += 1
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.resume", "--child", name],
                env={**os.environ, _LOG: str(folder / "calls")},
                stderr=subprocess.PIPE,
                text=True,
            )
            while not killed and process.poll() is None and time.monotonic() - started < _DEADLINE:
                if len(_calls(folder)) >= ROWS // 2:
                    _VICTIMS[victim](psutil.Process(process.pid)).kill()
                    killed = True
                time.sleep(0.01)
            _, said = process.communicate(timeout=_DEADLINE)
            if process.returncode == 0:
                break
            print(f"run {runs} ended with {process.returncode}: {said.strip().splitlines()[-1:]}", file=sys.stderr)
        if not killed:
            raise SystemExit(f"{victim} was not killed")
        counts, wrong = _rows(folder / "out")
        calls = _calls(folder)
        lost = sum(counts[row] == 0 for row in range(ROWS))
        doubled = sum(counts[row] > 1 for row in range(ROWS))
        seconds = time.monotonic() - started
        return victim, runs, lost, doubled, wrong, len(calls), len(calls) - len(set(calls)), seconds


def _calls(folder: Path) -> list[str]:
    log = folder / "calls"
    return log.read_text().splitlines() if log.exists() else []


def _rows(table: Path) -> tuple[collections.Counter[int], int]:
    """How often each id is there, and how many rows have a wrong answer."""
    import pyarrow.parquet as pq

    rows = pq.read_table(table).to_pylist()
    wrong = sum(row["said"] != f"PROMPT {row['id']}" for row in rows)
    return collections.Counter(row["id"] for row in rows), wrong


def _spark_worker(driver: psutil.Process) -> psutil.Process:
    """A Python process that Spark's daemon has forked, at work."""
    daemons = [one for one in driver.children(recursive=True) if "pyspark.daemon" in _command(one)]
    workers = [one for one in daemons if one.parent() in daemons]
    return max(workers, key=lambda one: sum(one.cpu_times()[:2]))


def _replica(application: str) -> Callable[[psutil.Process], psutil.Process]:
    def find(driver: psutil.Process) -> psutil.Process:
        return next(one for one in driver.children(recursive=True) if f"ServeReplica:{application}" in _command(one))

    return find


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has ended since
        return ""


_VICTIMS: dict[str, Callable[[psutil.Process], psutil.Process]] = {
    "driver": lambda driver: driver,
    "worker": _spark_worker,
    "gateway": _replica("sqlllm-gateway"),
    "engine": _replica("sqlllm-model-shout"),
}


if __name__ == "__main__":
    main()
