"""Ray Train without the processes that a run of fixed size on its own files has no use for, and here without PyTorch.

Each process costs seconds before the first step: Python starts, and loads Ray.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from typing import Any

import ray
from ray.train import BackendConfig
from ray.train._internal.utils import get_address_and_port, update_env_vars
from ray.train.backend import Backend
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from typing_extensions import override

from sqlllm.jobs import cluster

for name, value in {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process that asks a cloud whether it takes a node back
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # the slow poll adds two seconds
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
}.items():
    os.environ.setdefault(name, value)
logging.getLogger("ray.train").setLevel(logging.CRITICAL)  # `launch` says it shorter


class Trainer(DataParallelTrainer):
    """A trainer that reads no Ray dataset, and whose controller runs in this process, in a thread of its own.

    On an embedded Ray, which gets no more nodes, it asks for none.
    """

    def __init__(self, train: Callable[[dict[str, Any]], None], **given: Any) -> None:
        super().__init__(train, backend_config=_Torch(), **given)

    @override
    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        if cluster.is_embedded():
            parts["scaling_policy"] = _Alone(self.scaling_config)  # type: ignore[arg-type]
        needless = DatasetsCallback, PlacementGroupCleanerCallback  # what this process asked for ends with it
        parts["callbacks"] = [part for part in parts["callbacks"] if not isinstance(part, needless)]
        controller = _Controller(**parts)
        with closing(asyncio.new_event_loop()) as loop, ThreadPoolExecutor(1, "ray-train") as thread:
            task = loop.create_task(controller.run())
            running = thread.submit(loop.run_until_complete, task)
            try:
                while wait([running], timeout=0.2).not_done:  # a thread that waits for ever cannot be interrupted
                    pass
            except BaseException:
                loop.call_soon_threadsafe(task.cancel)
                raise
            running.result()
        return controller.get_result()


class _Torch(BackendConfig):
    """The workers learn where they meet; there, `ranks` does the rest. Ray's own loads PyTorch in this process, too."""

    @property
    def backend_cls(self) -> type[Backend]:
        return _Meeting


class _Meeting(Backend):
    share_cuda_visible_devices = True  # NCCL wants it

    @override
    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        address, port = worker_group.execute_single(0, get_address_and_port)
        worker_group.execute(update_env_vars, {"MASTER_ADDR": address, "MASTER_PORT": str(port)})


class _Workers(WorkerGroup):
    @override
    def _init_train_context_on_workers(self, workers: Any, sync_actor: Any, train_context_args: Any) -> None:
        ray.get(
            [
                worker.actor.init_train_context.remote(
                    train_run_context=self._train_run_context,
                    distributed_context=worker.distributed_context,
                    synchronization_actor=sync_actor,
                    storage_context=self._storage_context,
                    worker_callbacks=self._worker_callbacks_to_propagate,
                    controller_actor=None,  # which they would ask for checkpoints of Ray's own
                    **{name: values[rank] for name, values in train_context_args.items()},
                )
                for rank, worker in enumerate(workers)
            ]
        )
        self._decorate_worker_log_file_paths(workers)

    @override
    @staticmethod
    def _get_worker_runtime_env(custom_runtime_env: Any) -> Any:
        # An embedded Ray's processes have all of it, and those that wait for work can be taken.
        return {} if cluster.is_embedded() else WorkerGroup._get_worker_runtime_env(custom_runtime_env)


class _Controller(TrainController):
    worker_group_cls = _Workers

    @override
    async def run(self) -> None:
        try:
            await super().run()  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            self._controller_callback_manager.invoke_best_effort("before_controller_abort")
            if self._worker_group:
                self._worker_group.abort()  # type: ignore[no-untyped-call]
            raise


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
