"""A cluster's node is lost in the middle of a run: it goes on from its checkpoint on another one.

In a process of its own, which starts a cluster of nodes on this machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sqlllm.jobs.runs import RunRecord

from .conftest import SUMS, prepare

TINY = {
    "sft__int__hidden_size": 32, "sft__int__intermediate_size": 64, "sft__int__vocab_size": 300,
    "sft__int__per_device_train_batch_size": 16, "sft__int__save_steps": 50, "sft__int__max_steps": 200,
}  # fmt: skip
SWIFT = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


def main(home: str) -> None:
    """Train on a node that is lost once there is a checkpoint, and take another one in its place."""
    from ray.cluster_utils import Cluster

    from sqlllm.jobs import cluster
    from sqlllm.jobs.training import Progress, Resources, finetune
    from sqlllm.settings import RaySettings

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": SWIFT})
    lost = nodes.add_node(num_cpus=1)
    cluster.start(RaySettings(address=nodes.address))
    gone: list[int] = []

    def lose(progress: Progress) -> None:
        if progress.step > 60 and not gone:
            gone.append(progress.step)
            nodes.remove_node(lost, allow_graceful=False)
            nodes.add_node(num_cpus=1)

    spec, run = prepare(Path(home), SUMS, name="moved", **TINY)
    finetune(spec, run, on_progress=lose, resources=Resources())
    assert gone
    cluster.stop()
    nodes.shutdown()


@pytest.mark.slow
def test_a_run_goes_on_on_another_node(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.training.test_lost_node", str(tmp_path)],
        env={**environment, "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr[-2000:]
    run = RunRecord.read(tmp_path / "runs" / "moved")
    assert (run.state, run.steps, run.reason) == ("succeeded", 200, "")
    # Each step is told once: those up to the checkpoint were not done again.
    steps = [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert steps[-1] == 200


if __name__ == "__main__":
    main(sys.argv[1])
