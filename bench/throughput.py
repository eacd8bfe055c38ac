"""Rows per second of the model function against other ways to the same answers: `python -m bench.throughput`.

One run, the same distinct prompts, 32 answer tokens, vLLM on this machine:

    raw            `vllm.LLM.chat` itself, all prompts in one call
    sql            the SQL function: Spark, gateway, Ray Serve
    ray_data       Ray Data's vLLM processor over the same Parquet file
    row_function   a pandas function that posts row by row to the model's endpoint
    predict_batch  PySpark's predict_batch_udf around vLLM

A model of about 1 M parameters shows the overhead, one of about 100 M (raw and sql) what is left of it when the engine
works. Each way is a process of its own with a time limit; loading the model is not timed. 8,192 prompts for the small
model and 512 for the large one; `--scale` takes that share of both.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from tests.tiny import make_tiny_model

from . import report

ROWS, LARGE_ROWS = 8192, 512
TOKENS = 32
CONTEXT = 512
ROW_BY_ROW = 256  # rows are enough for the slow way
VLLM = {"dtype": "float32", "max_model_len": CONTEXT, "enforce_eager": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the prompts; 0.125 ends within 10 minutes")
    parser.add_argument("--ways", default=",".join(WAYS), help="those to run, with commas")
    parser.add_argument("--limit", type=float, default=900, help="seconds that one way may take")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        print(json.dumps(WAYS[given.way](given.folder)))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what runs is ended, too
    rows, large_rows = (max(1, round(number * given.scale)) for number in (ROWS, LARGE_ROWS))
    ways = given.ways.split(",")
    with tempfile.TemporaryDirectory() as name:
        small = _prepare(Path(name, "small"), rows, hidden=128, layers=4)
        rates = {way: _in_a_process(way, small, given.limit) for way in ways}
        _show(f"{rows} prompts, {TOKENS} answer tokens, a model of about 1 M parameters", rates)
        large = _prepare(Path(name, "large"), large_rows, hidden=1024, layers=12)
        large_rates = {way: _in_a_process(way, large, given.limit) for way in ("raw", "sql") if way in ways}
        _show(f"{large_rows} prompts, a model of about 100 M parameters", large_rates)
    figures = {f"vs_{way}": _ratio(rates.get("sql"), rate) for way, rate in rates.items() if way != "sql"}
    figures["vs_raw_large"] = _ratio(large_rates.get("sql"), large_rates.get("raw"))
    report.last_line({**figures, "rows": rows, "large_rows": large_rows, "rates": rates, "large_rates": large_rates})


def _prepare(folder: Path, rows: int, *, hidden: int, layers: int) -> Path:
    make_tiny_model(folder / "model", hidden=hidden, layers=layers, context=CONTEXT)
    prompts = [f"Question {number}: what comes after {number * 7919 % 104729}?" for number in range(rows)]
    pd.DataFrame({"prompt": prompts}).to_parquet(folder / "prompts.parquet")
    return folder


def _in_a_process(way: str, folder: Path, limit: float) -> float | None:
    """Rows per second; None, with the end of what it said, if it failed or took too long."""
    command = [sys.executable, "-m", "bench.throughput", "--way", way, "--folder", str(folder)]
    said = folder / f"{way}.log"
    with said.open("w") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True,
                                                 start_new_session=True) as process:  # fmt: skip
        try:
            shown, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            _end(process)
            print(f"{way}: stopped after {limit:g} s; it last said\n{said.read_text()[-2000:]}", file=sys.stderr)
            return None
        except BaseException:  # Ctrl-C, SIGTERM
            _end(process)
            raise
    if process.returncode:
        print(f"{way}: failed; it last said\n{said.read_text()[-2000:]}", file=sys.stderr)
        return None
    return float(shown.splitlines()[-1])


def _end(process: subprocess.Popen[str]) -> None:
    """End the process and all of its group: it may close what it has started, then it must go."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _show(title: str, rates: dict[str, float | None]) -> None:
    rows = [(way.replace("_", " "), rate or 0.0, _ratio(rate, rates.get("raw")) or 0.0) for way, rate in rates.items()]
    report.table(title, ("way", "rows/s", "of raw"), rows)


def _ratio(rate: float | None, other: float | None) -> float | None:
    return round(rate / other, 3) if rate and other else None


def raw(folder: Path) -> float:
    llm, sampling = _vllm(folder)
    chats: list[Any] = [[{"role": "user", "content": prompt}] for prompt in _prompts(folder)]
    started = time.perf_counter()
    answers = llm.chat(chats, sampling, use_tqdm=False)
    return len(answers) / (time.perf_counter() - started)


def sql(folder: Path) -> float:
    with _deployed(folder) as session:
        session.run(f"load parquet.`{folder}/prompts.parquet` as prompts;")
        asked = f"""select prompt, answer(llm_param(map("instruction", prompt, "max_tokens", "{TOKENS}"))) as q
                    from prompts as answers; select count(llm_result(q)) as n from answers as counted;"""
        started = time.perf_counter()
        (row,) = session.run(asked).rows()
        seconds = time.perf_counter() - started
        assert row.n == len(_prompts(folder)), "some rows have no answer"
        return float(row.n / seconds)


def row_function(folder: Path) -> float:
    with _deployed(folder) as session:
        url = f"{session.serving.endpoint}/v1/chat/completions"
        from pyspark.sql.functions import pandas_udf

        def plain(prompts: pd.Series) -> pd.Series:
            import httpx

            def ask(prompt: str) -> str:
                body = {"model": "answer", "messages": [{"role": "user", "content": prompt}], "max_tokens": TOKENS}
                reply = httpx.post(url, json={**body, "temperature": 0}, timeout=600, trust_env=False)
                return str(reply.json()["choices"][0]["message"]["content"])

            return prompts.map(ask)

        frame = session.spark.read.parquet(str(folder / "prompts.parquet")).limit(ROW_BY_ROW)
        function: Any = pandas_udf(plain, "string")  # type: ignore[call-overload]
        started = time.perf_counter()
        rows = frame.select(function("prompt").alias("a")).collect()
        return len(rows) / (time.perf_counter() - started)


def ray_data(folder: Path) -> float:
    from ray.data import read_parquet
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    from sqlllm.jobs import cluster
    from sqlllm.settings import RaySettings

    # Each of its stages holds a CPU: with fewer than these its tasks wait for ever.
    cluster.start(RaySettings(num_cpus=16))
    config = vLLMEngineProcessorConfig(
        model_source=str(folder / "model"),
        engine_kwargs=VLLM,
        runtime_env={"env_vars": {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": str(os.cpu_count())}},
        placement_group_config={"bundles": [{"CPU": 1}]},
        accelerator_type=None,
    )

    def ask(row: dict[str, Any]) -> dict[str, Any]:
        messages = [{"role": "user", "content": row["prompt"]}]
        return {"messages": messages, "sampling_params": {"temperature": 0, "max_tokens": TOKENS}}

    process = build_processor(config, preprocess=ask, postprocess=lambda row: {"answer": row["generated_text"]})
    data = read_parquet(str(folder / "prompts.parquet"))

    def timed(count: int) -> float:
        started = time.perf_counter()
        assert len(process(data.limit(count)).take_all()) == count
        return time.perf_counter() - started

    # Its engine starts with each pipeline: what a small one takes is not the rows'.
    start = min(timed(1), timed(1))
    count = len(_prompts(folder))
    seconds = timed(count) - start
    cluster.stop()
    return count / seconds


def predict_batch(folder: Path) -> float:
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StringType

    def make() -> Callable[[Any], Any]:
        import numpy as np

        llm, sampling = _vllm(folder)

        def predict(prompts: Any) -> Any:
            chats: list[Any] = [[{"role": "user", "content": str(prompt)}] for prompt in prompts.ravel()]
            return np.array([answer.outputs[0].text for answer in llm.chat(chats, sampling, use_tqdm=False)])

        return predict

    # One task: a second one would start a second engine.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    function = predict_batch_udf(make, return_type=StringType(), batch_size=128)
    frame = spark.read.parquet(str(folder / "prompts.parquet"))
    frame.limit(1).select(function("prompt")).collect()  # loads the model, which the worker keeps
    started = time.perf_counter()
    rows = frame.select(function("prompt").alias("a")).collect()
    seconds = time.perf_counter() - started
    spark.stop()
    return len(rows) / seconds


def _vllm(folder: Path) -> tuple[Any, Any]:
    """vLLM with the model loaded and warm, and how to sample."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    from vllm import LLM, SamplingParams

    llm = LLM(str(folder / "model"), **VLLM)
    sampling = SamplingParams(temperature=0, max_tokens=TOKENS)
    llm.chat([[{"role": "user", "content": "x"}]], sampling, use_tqdm=False)
    return llm, sampling


@contextmanager
def _deployed(folder: Path) -> Iterator[Any]:
    from sqlllm.session import Session
    from sqlllm.settings import Settings

    with Session(Settings.load(home=folder / "home")) as session:
        session.run(
            f'run command as LLM.`` where action="infer" and udfName="answer" and localModelDir="{folder}/model"'
            f' and infer_backend="vllm" and `backend.dtype`="float32" and `backend.max_model_len`="{CONTEXT}";'
        )
        warm = "select llm_result(answer(llm_param(map('instruction', 'x', 'max_tokens', '1')))) from range(1);"
        session.run(warm).rows()
        yield session


def _prompts(folder: Path) -> list[str]:
    return list(pd.read_parquet(folder / "prompts.parquet")["prompt"])


WAYS: dict[str, Callable[[Path], float]] = {
    "raw": raw,
    "sql": sql,
    "ray_data": ray_data,
    "row_function": row_function,
    "predict_batch": predict_batch,
}

if __name__ == "__main__":
    main()
