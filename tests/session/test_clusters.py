"""Scripts on a Ray and a Spark that were started apart, some of whose nodes leave in the middle."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.clusters import ConnectServer, RayCluster, SparkCluster
from tests.console.test_cli import SQLLLM

ROOT = Path(__file__).parents[2]
ROWS = 2_000
SELECT = f"""
select concat('q', id) as prompt, concat('a', id) as answer from range({ROWS}) as qa;
save overwrite qa as csv.`ANSWERS` where header="true";
run command as LLM.`` where action="infer" and udfName="oracle" and pretrainedModelType="oracle/table"
and localModelDir="ANSWERS" and num_workers="2" and cpus_per_worker="2" and `backend.latency`="0.5" as deployed;
set llm.in_flight = "2";
select answer, llm_result(oracle(llm_param(map("instruction", prompt, "temperature", "0")))) as found
from qa as answers;
select count(*) as n, sum(if(answer = found, 1, 0)) as right_ones, count(distinct found) as different
from answers as score;
"""
CONNECT = """
run command as LLM.`` where action="infer" and reconnect="true" and udfName="answer";
select llm_result(answer(llm_param(map("instruction", concat("due in ", id))))) as found, split("a", ",")[9] as nothing
from range(3) as answers;
select count(found) as answers, count_if(nothing is null) as out_of_bounds from answers as score;
"""


@pytest.mark.slow
@pytest.mark.rare
def test_scripts_run_on_clusters_by_address_and_nodes_that_leave_cost_no_row(tmp_path: Path) -> None:
    quickstart = (ROOT / "examples" / "sql" / "quickstart.sql").read_text()
    (tmp_path / "quickstart.sql").write_text(quickstart.replace('"1000"', '"20"'))
    (tmp_path / "select.sql").write_text(SELECT.replace("ANSWERS", str(tmp_path / "answers")))
    (tmp_path / "connect.sql").write_text(CONNECT)
    with (
        RayCluster(tmp_path / "ray", 2, 2) as ray,
        SparkCluster(tmp_path / "spark", workers=2) as spark,
        ConnectServer(tmp_path / "connect") as connect,
    ):
        ray.launch()  # alone: it gives itself little time
        with ThreadPoolExecutor() as pool:
            for launched in [pool.submit(one.launch) for one in (spark, connect)]:
                launched.result()
        environment = ray.environment | {
            "RAY_ADDRESS": ray.address, "SPARK_LOCAL_IP": "127.0.0.1", "SQLLLM_HOME": str(tmp_path / "home"),
        }  # fmt: skip

        def run(script: str, master: str) -> subprocess.Popen[str]:
            command = [*SQLLLM, "run", "--master", master, "--format", "json", str(tmp_path / script)]
            return subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )

        with run("quickstart.sql", spark.address) as learns:
            shown, told = learns.communicate()
        assert learns.returncode == 0, told
        assert " rows=500 " in shown

        with run("connect.sql", connect.address) as connects:
            shown, told = connects.communicate()
        assert connects.returncode == 0, told
        assert json.loads(shown) == [{"answers": 3, "out_of_bounds": 3}]

        before = answers_kept(tmp_path / "home")
        with run("select.sql", spark.address) as asks:
            while answers_kept(tmp_path / "home") < before + ROWS // 10:
                assert asks.poll() is None, asks.communicate()
                time.sleep(0.1)
            ray.kill(1)
            spark.kill(1)
            shown, told = asks.communicate()
        assert asks.returncode == 0, told
        assert json.loads(shown) == [{"n": ROWS, "right_ones": ROWS, "different": ROWS}], told
        assert f"{ROWS:,} rows" in told


def answers_kept(home: Path) -> int:
    """By the gateway."""
    with closing(sqlite3.connect(f"file:{home}/serving/answers.db?mode=ro", uri=True)) as db:
        return int(db.execute("select count(*) from answers").fetchone()[0])
