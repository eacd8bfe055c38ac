"""Ray Train's TorchTrainer, without the processes that a run of fixed size on its own files has no use for.

Each of them costs seconds before the first step: Python starts, and loads Ray.
"""

from __future__ import annotations

import os
from typing import Any

from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2.torch.torch_trainer import TorchTrainer
from typing_extensions import override

from sqlllm.jobs import cluster

for name, value in {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process that asks a cloud whether it takes a node back
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # it makes the hashing in `datasets` flood the log
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # the slow poll adds two seconds
}.items():
    os.environ.setdefault(name, value)


class Trainer(TorchTrainer):
    """A TorchTrainer that reads no Ray dataset. On an embedded Ray, which gets no more nodes, it asks for none."""

    @override
    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        needless: tuple[type, ...] = (DatasetsCallback,)
        if cluster.is_embedded():
            needless = (DatasetsCallback, PlacementGroupCleanerCallback)  # all ends with this process
            parts["scaling_policy"] = _Alone(self.scaling_config)  # type: ignore[arg-type]
        parts["callbacks"] = [part for part in parts["callbacks"] if not isinstance(part, needless)]
        return super()._initialize_and_run_controller(**parts)


class _Alone(FixedScalingPolicy):
    @override
    def _send_resource_request(self) -> None:
        return

    @override
    def _maybe_send_resource_request(self) -> None:
        return

    @override
    def _cancel_resource_request(self) -> None:
        return
