"""A cluster's node is lost in the middle of a run: it goes on from its checkpoint on another one, if there is one.

In a process of its own, which starts a cluster of nodes on this machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sqlllm.errors import TrainingError
from sqlllm.jobs import cluster
from sqlllm.jobs.runs import RunRecord, list_runs
from sqlllm.jobs.training import checkpoints, launch

from .conftest import SUMS, prepare

TINY = {
    "sft__int__hidden_size": 32, "sft__int__intermediate_size": 64, "sft__int__vocab_size": 300,
    "sft__int__per_device_train_batch_size": 16, "sft__int__save_steps": 40, "sft__int__max_steps": 400,
}  # fmt: skip
SWIFT = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


def main(home: str) -> None:
    """Two runs on a cluster of two nodes: each loses its node once there is a checkpoint."""
    import ray
    from ray._private.state import available_resources_per_node
    from ray.cluster_utils import Cluster

    from sqlllm.jobs.training import Progress, Resources, finetune
    from sqlllm.settings import RaySettings

    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": SWIFT}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    spare = [nodes.add_node(num_cpus=1) for _ in range(2)]
    cluster.start(RaySettings(address=nodes.address))
    lost: set[str] = set()

    def lose(progress: Progress, name: str) -> None:
        if progress.step > 60 and name not in lost:
            lost.add(name)
            free = available_resources_per_node()
            node = next(node for node in spare if "CPU" not in free[node.node_id])
            spare.remove(node)
            nodes.remove_node(node, allow_graceful=False)

    def train(name: str) -> RunRecord:
        spec, run = prepare(Path(home), SUMS, name=name, **TINY)
        return finetune(spec, run, on_progress=lambda progress: lose(progress, name), resources=Resources())

    train("moved")
    launch._PATIENCE = 1
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "2"
    with pytest.raises(TrainingError, match="no room"):
        train("stranded")
    assert lost == {"moved", "stranded"}
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.slow
@pytest.mark.rare
def test_a_run_goes_on_on_another_node_and_says_so_if_there_is_none(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.training.test_lost_node", str(tmp_path)],
        env=environment
        | {
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": os.pathsep.join([str(cluster._ABSENT), os.environ.get("PYTHONPATH", "")]),
        },
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr[-2000:]
    moved, stranded = list_runs(tmp_path / "runs")
    assert (moved.state, moved.steps, moved.reason) == ("succeeded", 400, "")
    # Each step is written once: those up to the checkpoint were not done again.
    steps = [json.loads(line)["step"] for line in moved.metrics.read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert steps[-1] == 400
    assert (stranded.state, stranded.model) == ("failed", None)
    assert stranded.reason == f"the cluster has no room for the run's workers. {launch._MORE_NODES}"
    assert checkpoints.last(stranded.folder / "finetune_model") is not None


if __name__ == "__main__":
    main(sys.argv[1])
