"""Pretraining in this process, as its only worker: what is learned, what is kept, how it goes on."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sqlllm.errors import ModelError, OptionError, TrainingError
from sqlllm.jobs.conversion import zero
from sqlllm.jobs.runs import RunRecord
from sqlllm.jobs.training import pretrain
from sqlllm.jobs.training.pretrain_checkpoints import Checkpoints
from sqlllm.jobs.training.pretrain_spec import PretrainSpec
from sqlllm.jobs.training.progress import read_metrics

pytestmark = [
    pytest.mark.slow,
    # DeepSpeed calls what PyTorch is renaming, and loads its compiler.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

TEXTS = [f"{a} plus {b} is {a + b}. " * (1 + (a + b) % 4) for a in range(8) for b in range(8)]
ADAMW = {"type": "AdamW", "params": {"lr": 1e-3, "betas": [0.9, 0.95], "weight_decay": 0.1}}
OFFLOAD = {"offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "cpu"}, "overlap_comm": True}
CONFIGS = {
    "no ZeRO": {"zero_optimization": {"stage": 0}},
    "ZeRO-1 in bf16": {"zero_optimization": {"stage": 1}, "bf16": {"enabled": True}},
    "ZeRO-2": {"zero_optimization": {"stage": 2}, "gradient_accumulation_steps": 2},
    "ZeRO-3, offload, bf16": {"zero_optimization": {"stage": 3, **OFFLOAD}, "bf16": {"enabled": True}},
}
SMALL = {"sfft__int__max_length": 64, "sfft__int__logging_steps": 2}

Prepare = Callable[..., tuple[PretrainSpec, RunRecord]]


@pytest.fixture(scope="module", autouse=True)
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """torch.distributed with this process alone, as Ray Train starts it in its workers."""
    import torch
    import torch.distributed as dist

    store = tmp_path_factory.mktemp("group") / "store"
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1"}.items():
            environment.setenv(name, str(value))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
        yield
        dist.destroy_process_group()
        torch.set_num_threads(threads)


def config(name: str) -> str:
    return json.dumps({"train_micro_batch_size_per_gpu": 4, "optimizer": ADAMW, **CONFIGS[name]})


@pytest.fixture
def prepare(tmp_path: Path, base: Path) -> Prepare:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def make(texts: list[Any] = TEXTS, **options: Any) -> tuple[PretrainSpec, RunRecord]:
        options = {"localModelDir": base, **SMALL, **options}
        spec = PretrainSpec.from_options({key.replace("__", "."): str(value) for key, value in options.items()})
        run = pretrain.new_run(spec, tmp_path)
        run.data.mkdir()
        for number in range(2):  # two files, as Spark writes them
            pq.write_table(pa.table({"text": texts[number::2]}), run.data / f"part-{number}.parquet")
        return spec, run

    return make


def work(spec: PretrainSpec, run: RunRecord) -> dict[str, Any]:
    from sqlllm.jobs.training.pretrain_worker import work

    work(spec, run)
    found: dict[str, Any] = json.loads((run.folder / "finetune_model" / "train_results.json").read_text())
    return found


def weights(model: Path) -> dict[str, Any]:
    from transformers import AutoModelForCausalLM

    return dict(AutoModelForCausalLM.from_pretrained(model).state_dict())


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    import torch

    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


class Stop(Exception):
    """In place of a kill."""


@pytest.mark.parametrize("name", CONFIGS)
def test_a_stopped_run_goes_on_to_the_same_weights(
    name: str, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"deepspeedConfig": config(name), "sfft__int__save_steps": 3, "sfft__int__epochs": 2}
    spec, unbroken = prepare(**options)
    summary = work(spec, unbroken)
    assert summary["steps"] >= 10

    spec, broken = prepare(**options)
    from sqlllm.jobs.training.pretrain_loop import Loop

    step, done = Loop._step, 0

    def until(loop: Loop, batches: list[list[int]]) -> None:
        nonlocal done
        done += 1
        if done == 8:
            raise Stop
        step(loop, batches)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_step", until)
        with pytest.raises(Stop):
            work(spec, broken)
    folder = broken.folder / "finetune_model"
    assert Checkpoints(folder).last() is not None
    assert not (folder / "final").exists()
    shutil.rmtree(broken.folder / "work")
    again = work(spec, broken)

    assert same(weights(folder / "final"), weights(unbroken.folder / "finetune_model" / "final"))
    assert {**again, "train_seconds": 0} == {**summary, "train_seconds": 0}
    told = [
        [(line.step, line.loss, line.tokens) for line in read_metrics(run.metrics)[0]] for run in (broken, unbroken)
    ]
    assert told[0] == told[1]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_converted_weights_are_the_trained_ones(
    name: str, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    import deepspeed
    import torch
    from deepspeed.utils import safe_get_full_fp32_param

    from sqlllm.jobs.training import pretrain_loop

    trained: dict[str, torch.Tensor] = {}
    train = pretrain_loop.Loop.train

    def watch(loop: pretrain_loop.Loop) -> None:
        train(loop)
        for key, parameter in loop.engine.module.named_parameters():
            full = safe_get_full_fp32_param(parameter) if CONFIGS[name]["zero_optimization"]["stage"] else parameter
            trained[key] = full.detach().clone()

    monkeypatch.setattr(pretrain_loop.Loop, "train", watch)
    spec, run = prepare(deepspeedConfig=config(name), sfft__int__max_steps=3)
    work(spec, run)
    folder = run.folder / "finetune_model"
    converted = dict(zero.load(folder / "Epoch-1").named_parameters())
    assert same(converted, trained)
    assert any(not torch.equal(weights(Path(str(spec.local_model_dir)))[key], trained[key]) for key in trained)
    assert deepspeed  # it is what wrote the checkpoint


def test_every_token_is_learned_once(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer

    from sqlllm.jobs.training.pretrain_blocks import IGNORED, Stream

    read: list[tuple[list[int], list[int]]] = []
    batch = Stream.batch

    def watch(stream: Stream, blocks: list[int], rows: int) -> Any:
        inputs, targets = batch(stream, blocks, rows)
        for ids, aims in zip(inputs.tolist(), targets.tolist(), strict=True):
            learned = [place for place, aim in enumerate(aims) if aim != IGNORED]
            if learned:
                assert learned == list(range(len(learned)))
                read.append((ids[: len(learned)], aims[: len(learned)]))
        return inputs, targets

    monkeypatch.setattr(Stream, "batch", watch)
    texts = [*TEXTS, "你好。 " * 40, "", None, " \n"]
    spec, run = prepare(texts, sfft__int__per_device_train_batch_size=3)
    summary = work(spec, run)
    tokenizer = AutoTokenizer.from_pretrained(spec.local_model_dir)
    end = tokenizer.eos_token_id
    stream = [
        token
        for source in (texts[0::2], texts[1::2])
        for text in source
        if text and text.strip()
        for token in [*tokenizer(text)["input_ids"], end]
    ]
    # Each block's tokens lie in the stream one after the other, and its targets are the same one place on.
    blocks = {tuple(ids): tuple(aims) for ids, aims in read}
    expected = {
        tuple(stream[at : min(at + 64, len(stream) - 1)]): tuple(stream[at + 1 : at + 65])
        for at in range(0, len(stream) - 1, 64)
    }
    assert blocks == expected
    assert summary["tokens"] == sum(len(ids) for ids, _ in read) == len(stream) - 1
    record = RunRecord.read(run.folder)
    assert (record.rows, record.examples) == (len(texts), len(texts) - 3)


def test_the_layout_is_byzers(prepare: Prepare) -> None:
    tensorboard = {"tensorboard": {"enabled": True}, "train_micro_batch_size_per_gpu": 4, "optimizer": ADAMW}
    spec, run = prepare(
        deepspeedConfig=json.dumps(tensorboard), sfft__int__epoches=2, sfft__int__steps_per_epoch=3, name="bible"
    )
    summary = work(spec, run)
    assert (summary["steps"], summary["epochs"]) == (6, 2.0)
    folder = run.folder / "finetune_model"
    assert {path.name for path in folder.iterdir()} == {"Epoch-1", "Epoch-2", "final", "latest", "train_results.json"}
    assert (folder / "latest").read_text() == "Epoch-2"
    assert list((run.folder / "tensorboard_dir" / "bible").iterdir())
    from transformers import AutoTokenizer

    assert AutoTokenizer.from_pretrained(folder / "final").eos_token == "<|end|>"


def test_from_scratch_it_learns(prepare: Prepare) -> None:
    shape = {"sfft__int__hidden_size": 32, "sfft__int__intermediate_size": 64, "sfft__int__vocab_size": 300}
    spec, run = prepare(localModelDir="", **shape, sfft__int__epochs=6, sfft__int__per_device_train_batch_size=4)
    work(spec, run)
    lines, _ = read_metrics(run.metrics)
    assert lines[-1].loss < 0.75 * lines[0].loss
    assert lines[-1].learning_rate < max(line.learning_rate for line in lines)
    assert weights(run.folder / "finetune_model" / "final")["model.embed_tokens.weight"].shape[1] == 32


def test_a_run_whose_gradients_are_not_numbers_keeps_no_checkpoint(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.nn import functional

    entropy = functional.cross_entropy

    def steep(logits: Any, *arguments: Any, **keys: Any) -> Any:
        """The same loss; the slope of a root at 0 is infinite."""
        return entropy(logits, *arguments, **keys) + (0 * logits.sum()).sqrt()

    monkeypatch.setattr(functional, "cross_entropy", steep)
    spec, run = prepare()
    with pytest.raises(TrainingError, match="became no numbers before step ") as caught:
        work(spec, run)
    assert "learning_rate" in caught.value.cure
    assert not (run.folder / "finetune_model").exists()


def test_a_loss_that_is_not_a_number(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.nn import functional

    entropy = functional.cross_entropy
    monkeypatch.setattr(functional, "cross_entropy", lambda *arguments, **keys: entropy(*arguments, **keys) * math.nan)
    spec, run = prepare(sfft__int__save_steps=1)
    with pytest.raises(TrainingError, match="the loss became nan at step 1"):
        work(spec, run)
    assert not (run.folder / "finetune_model").exists()


def test_a_run_that_died_while_it_wrote_its_model(prepare: Prepare) -> None:
    spec, run = prepare(sfft__int__max_steps=3)
    before = work(spec, run)
    final = run.folder / "finetune_model" / "final"
    (final.parent / "train_results.json").unlink()
    expected = weights(final)
    shutil.rmtree(final)
    assert work(spec, run) == before
    assert same(weights(final), expected)


def test_the_model_is_as_ready_to_use_as_the_one_it_started_from(prepare: Prepare) -> None:
    spec, run = prepare(sfft__int__max_steps=1)
    work(spec, run)
    for name in ("config.json", "tokenizer_config.json"):
        before, after = (
            json.loads((folder / name).read_text())
            for folder in (Path(str(spec.local_model_dir)), run.folder / "finetune_model" / "final")
        )
        assert {key: after.get(key) for key in before} == before


def test_a_checkpoint_of_other_workers(prepare: Prepare) -> None:
    spec, run = prepare(sfft__int__max_steps=1)
    work(spec, run)
    position = run.folder / "finetune_model" / "Epoch-1" / "position.json"
    position.write_text(json.dumps({**json.loads(position.read_text()), "workers": 2}))
    with pytest.raises(TrainingError, match="is of 2 workers, not 1") as caught:
        work(spec, run)
    assert f"to 2 in {run.folder}/job.json" in caught.value.cure


def test_no_text_at_all(prepare: Prepare) -> None:
    with pytest.raises(TrainingError, match="no text"):
        work(*prepare(["", None, " "]))


def test_another_tokenizer_gets_room_in_the_model(prepare: Prepare, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    spec, _ = prepare()
    tokenizer = AutoTokenizer.from_pretrained(spec.local_model_dir)
    tokenizer.add_tokens([" plus", " is"])
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    spec, run = prepare(sfft__str__tokenizer_path=tmp_path / "tokenizer", sfft__int__max_steps=1)
    before, after = summary_rows(Path(str(spec.local_model_dir))), work(spec, run)
    assert after["steps"] == 1
    assert summary_rows(run.folder / "finetune_model" / "final") == before + 2


def test_a_sentencepiece_file(prepare: Prepare, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    sentencepiece = pytest.importorskip("sentencepiece")
    (tmp_path / "spm").mkdir()
    prefix = tmp_path / "spm" / "tokenizer"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_prefix=str(prefix), vocab_size=290, byte_fallback=True, model_type="bpe",
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    file = prefix.with_suffix(".model")
    spec, run = prepare(sfft__str__tokenizer_path=file, sfft__int__max_steps=1)
    work(spec, run)
    tokenizer = AutoTokenizer.from_pretrained(run.folder / "finetune_model" / "final")
    assert tokenizer.eos_token == "</s>"
    expected = sentencepiece.SentencePieceProcessor(model_file=str(file)).encode(TEXTS[9].strip())
    assert tokenizer(TEXTS[9].strip())["input_ids"] == expected


def summary_rows(model: Path) -> int:
    return len(weights(model)["model.embed_tokens.weight"])


def test_what_cannot_be_shared_out_is_reported_before_anything_starts(prepare: Prepare) -> None:
    from sqlllm.jobs.training import Resources

    spec, run = prepare(keepPartitionNum="true")
    with pytest.raises(OptionError, match="2 partitions cannot be shared out among 3 workers") as caught:
        pretrain.pretrain(spec, run, resources=Resources(num_workers=3))
    assert caught.value.key == "keepPartitionNum"
    assert RunRecord.read(run.folder).state == "failed"


def test_a_folder_that_is_not_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a DeepSpeed checkpoint"):
        zero.load(tmp_path)
