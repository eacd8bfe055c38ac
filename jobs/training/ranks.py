"""What PyTorch needs in a worker of Ray Train before all else: its threads or its GPU, and the other workers."""

from __future__ import annotations

import os
from datetime import timedelta

_PATIENCE = timedelta(minutes=30)  # one worker may tokenize while the others wait


def setup(*, gpu: bool, threads: str | None, group: bool = True) -> None:
    """Ready this process, as torchrun does; `threads` is the user's OMP_NUM_THREADS.

    Without `group` it is the only one, and nothing makes it meet others: Accelerate would else copy every gradient for
    peers that are not there.
    """
    if not gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # else FSDP and the figures take the machine's, which the run is not to
    import torch
    from ray.train import get_context

    context = get_context()
    if gpu:
        from ray.train.torch import get_device

        torch.cuda.set_device(get_device())
        os.environ["ACCELERATE_TORCH_DEVICE"] = str(get_device())
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(int(threads or max(1, cores // context.get_local_world_size())))
    if group:
        os.environ |= {
            "RANK": str(context.get_world_rank()),
            "WORLD_SIZE": str(context.get_world_size()),
            "LOCAL_RANK": str(context.get_local_rank()),
            "LOCAL_WORLD_SIZE": str(context.get_local_world_size()),
        }
        torch.distributed.init_process_group("nccl" if gpu else "gloo", timeout=_PATIENCE)


def barrier() -> None:
    """Wait for the other workers, if there are any."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.barrier()
