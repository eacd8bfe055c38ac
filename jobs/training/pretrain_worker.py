"""What runs in each pretraining process: texts to blocks of tokens, blocks to a model."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.errors import TrainingError
from sqlllm.jobs.conversion import zero
from sqlllm.jobs.files import write_whole
from sqlllm.jobs.runs import RunRecord

from . import pretrain_blocks as blocks
from . import pretrain_deepspeed, ranks, scratch
from .checkpoints import written_whole
from .pretrain_spec import PretrainSpec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from .pretrain_loop import Loop


def train(config: dict[str, Any]) -> None:
    """Pretrain as `config["spec"]` says, in the folder of `config["run"]`; runs in every Ray Train worker."""
    spec: PretrainSpec = config["spec"]
    if config["gpu"] and spec.training.setup_nccl_socket_ifname_by_ip:
        os.environ["NCCL_SOCKET_IFNAME"] = _interface()  # read at the first collective
    ranks.setup(gpu=config["gpu"], threads=config["threads"])
    work(spec, config["run"], gpu=config["gpu"])


def work(spec: PretrainSpec, run: RunRecord, *, gpu: bool = False) -> None:
    """The share of one of torch.distributed's processes, from the texts to the model."""
    import torch.distributed as dist

    from .pretrain_loop import Loop

    rank, workers = dist.get_rank(), dist.get_world_size()
    base, tokenizer = prepare(spec, run, first=rank == 0)
    streams = tokenize(spec, run, tokenizer, rank, workers)
    own = spec.keep_partition_num
    batch = pretrain_deepspeed.batch(spec.deepspeed, workers)
    share = blocks.Share(0, 1) if own else blocks.Share(rank, workers)
    order = blocks.Order(max(map(len, streams)), batch, share, spec.seed)
    loop = Loop(spec, run, streams[rank if own else 0], order, gpu=gpu)
    loop.start(base, tokenizer)
    loop.train()
    if rank == 0:
        save(loop)


def save(loop: Loop) -> None:
    """Write `final`, the last checkpoint as a Hugging Face model, and the run's figures."""
    folder = loop.checkpoints.folder
    checkpoint = loop.checkpoints.last()
    assert checkpoint is not None
    model = zero.load(checkpoint).to(dtype=loop.dtype)  # type: ignore[call-arg]
    with written_whole(folder / "final") as final:
        model.save_pretrained(final)
        loop.tokenizer.save_pretrained(final)
    write_whole(folder / "train_results.json", json.dumps(loop.summary(), indent=2))


def prepare(spec: PretrainSpec, run: RunRecord, *, first: bool) -> tuple[Path, PreTrainedTokenizerBase]:
    """The model folder to start from, made by the first worker if there is none, and the tokenizer."""
    import torch
    from transformers import AutoTokenizer

    base = spec.local_model_dir or run.folder / "work" / "base"
    if first and not base.exists():
        found = (text for source in blocks.sources(spec.local_data_dir or run.data) for text in blocks.texts(source))
        with written_whole(base) as folder:
            scratch.build(folder, filter(None, found), spec.llama, context=spec.training.max_length, seed=spec.seed)
    torch.distributed.barrier()
    path = spec.training.tokenizer_path or base
    tokenizer = AutoTokenizer.from_pretrained(path) if path.is_dir() else sentencepiece(path)
    if tokenizer.eos_token_id is None:
        raise TrainingError(
            "the tokenizer has no end token, which must stand between the texts",
            cure='Add "eos_token" to its tokenizer_config.json.',
        )
    return base, tokenizer


def sentencepiece(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a SentencePiece file: that of its folder if it has more than the file."""
    from transformers import AutoTokenizer, LlamaTokenizer

    if (path.parent / "tokenizer_config.json").exists():
        found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path.parent)  # else a union of all tokenizers
        return found
    found = LlamaTokenizer.from_pretrained(path.parent)
    return found  # noqa: RET504 (typed so)


def tokenize(
    spec: PretrainSpec, run: RunRecord, tokenizer: PreTrainedTokenizerBase, rank: int, workers: int
) -> list[blocks.Stream]:
    """The streams of blocks: one for all workers, or one for each. Every worker tokenizes its share of the files."""
    import torch

    sources = blocks.sources(spec.local_data_dir or run.data)
    folder = run.folder / "work" / "tokens"
    folder.mkdir(parents=True, exist_ok=True)
    longest, tokenizer.model_max_length = tokenizer.model_max_length, int(1e30)  # texts may be of any length here
    end = tokenizer.eos_token_id

    def encode(texts: list[str]) -> Iterator[list[int]]:
        for ids in tokenizer(texts, return_attention_mask=False)["input_ids"]:
            yield ids if ids and ids[-1] == end else [*ids, end]

    for number in range(rank, len(sources), workers):
        written = folder / f"{number:05d}.json"
        if not written.exists():  # it does after a restart
            counts = blocks.write(sources[number], encode, folder / f"{number:05d}.tokens", len(tokenizer))
            written.write_text(json.dumps(counts))
    tokenizer.model_max_length = longest
    torch.distributed.barrier()
    rows, documents, tokens = (
        sum(counts) for counts in zip(*(json.loads(path.read_text()) for path in folder.glob("*.json")), strict=True)
    )
    if tokens < 2:
        raise TrainingError("the training table has no text", cure="Check the select that makes it.")
    if rank == 0:
        RunRecord.read(run.folder).update(rows=rows, examples=documents)
    files = [folder / f"{number:05d}.tokens" for number in range(len(sources))]
    shares = [files[worker::workers] for worker in range(workers)] if spec.keep_partition_num else [files]
    return [blocks.Stream(share, spec.training.max_length, len(tokenizer)) for share in shares]


def _interface() -> str:
    """The network interface that has this machine's address."""
    import psutil  # type: ignore[import-untyped]  # DeepSpeed brings it
    from ray.util import get_node_ip_address

    address = get_node_ip_address()  # type: ignore[no-untyped-call]
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == address for one in addresses):
            return str(name)
    raise TrainingError(f"no network interface here has the address {address}")
