"""Rows per second of the model function against other ways to the same answers: `python -m bench.throughput`.

One run, one model, the same prompts, vLLM on this machine: (raw) `vllm.LLM.chat` itself; (sql) the SQL function through
Spark, gateway and Ray Serve; (row function) a pandas UDF that posts row by row to the same endpoint; (ray data) Ray
Data's vLLM processor over the same Parquet file. Each way is a process of its own, and only its answering is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from tests.tiny import make_tiny_model

from . import report

TOKENS = 32
CONTEXT = 512
ROW_BY_ROW = 256  # rows enough for the slow way


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8192, help="distinct prompts")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(WAYS[arguments.way](arguments.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tiny_model(folder / "model", hidden=128, layers=4, context=CONTEXT)
        prompts = [f"Question {number}: what comes after {number * 7919 % 104729}?" for number in range(arguments.rows)]
        pd.DataFrame({"prompt": prompts}).to_parquet(folder / "prompts.parquet")
        rates = {way: _in_a_process(way, folder) for way in WAYS}
    report.table(
        f"{arguments.rows} prompts, {TOKENS} answer tokens, a model of about 1 M parameters",
        ("way", "rows/s", "of raw"),
        [(way.replace("_", " "), rate, rate / rates["raw"]) for way, rate in rates.items()],
    )
    report.last_line(
        {f"vs_{way}": rates["sql"] / rate for way, rate in rates.items() if way != "sql"} | {"rates": rates}
    )


def _in_a_process(way: str, folder: Path) -> float:
    command = [sys.executable, "-m", "bench.throughput", "--way", way, "--folder", str(folder)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(shown.stdout.splitlines()[-1])


def raw(folder: Path) -> float:
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    from vllm import LLM, SamplingParams

    llm = LLM(str(folder / "model"), dtype="float32", max_model_len=CONTEXT, enforce_eager=True)
    chats: list[Any] = [[{"role": "user", "content": prompt}] for prompt in _prompts(folder)]
    sampling = SamplingParams(temperature=0, max_tokens=TOKENS)
    llm.chat(chats[:8], sampling, use_tqdm=False)
    started = time.perf_counter()
    answers = llm.chat(chats, sampling, use_tqdm=False)
    return len(answers) / (time.perf_counter() - started)


def sql(folder: Path) -> float:
    with _deployed(folder) as session:
        session.run(f"load parquet.`{folder}/prompts.parquet` as prompts;")
        asked = f"""select prompt, answer(llm_param(map("instruction", prompt, "max_tokens", "{TOKENS}"))) as q
                    from prompts as answers; select count(llm_result(q)) as n from answers as counted;"""
        started = time.perf_counter()
        result = session.run(asked)
        assert result is not None
        (row,) = result.rows()
        seconds = time.perf_counter() - started
        assert row.n == len(_prompts(folder)), "some rows have no answer"
        return float(row.n / seconds)


def row_function(folder: Path) -> float:
    with _deployed(folder) as session:
        url = f"{session.serving.endpoint}/v1/chat/completions"
        from pyspark.sql.functions import pandas_udf

        @pandas_udf("string")  # type: ignore[call-overload]
        def plain(prompts: pd.Series) -> pd.Series:
            import httpx

            def ask(prompt: str) -> str:
                body = {"model": "answer", "messages": [{"role": "user", "content": prompt}], "max_tokens": TOKENS}
                reply = httpx.post(url, json={**body, "temperature": 0}, timeout=600)
                return str(reply.json()["choices"][0]["message"]["content"])

            return prompts.map(ask)

        frame = session.spark.read.parquet(str(folder / "prompts.parquet")).limit(ROW_BY_ROW)
        started = time.perf_counter()
        rows = frame.select(plain("prompt").alias("a")).collect()
        return len(rows) / (time.perf_counter() - started)


def ray_data(folder: Path) -> float:
    from ray.data import read_parquet
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    from sqlllm.jobs import cluster
    from sqlllm.settings import RaySettings

    cluster.start(RaySettings())
    config = vLLMEngineProcessorConfig(
        model_source=str(folder / "model"),
        engine_kwargs={"dtype": "float32", "max_model_len": CONTEXT, "enforce_eager": True},
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
    start = timed(1)
    count = len(_prompts(folder))
    seconds = timed(count) - start
    cluster.stop()
    return count / seconds


@contextmanager
def _deployed(folder: Path) -> Iterator[Any]:
    from sqlllm.session import Session

    with Session() as session:
        session.run(
            f'run command as LLM.`` where action="infer" and udfName="answer" and localModelDir="{folder}/model"'
            f' and infer_backend="vllm" and `backend.dtype`="float32" and `backend.max_model_len`="{CONTEXT}";'
        )
        first = session.run(
            "select llm_result(answer(llm_param(map('instruction', 'x', 'max_tokens', '1')))) from range(1);"
        )
        assert first is not None
        first.rows()
        yield session


def _prompts(folder: Path) -> list[str]:
    return list(pd.read_parquet(folder / "prompts.parquet")["prompt"])


WAYS: dict[str, Callable[[Path], float]] = {"raw": raw, "sql": sql, "row_function": row_function, "ray_data": ray_data}

if __name__ == "__main__":
    main()
