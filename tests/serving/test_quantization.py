"""Fewer bits as a model loads, and engines that take none."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from sqlllm.errors import ModelError
from sqlllm.jobs.conversion import bits
from sqlllm.jobs.serving import ModelSpec, Serving
from sqlllm.jobs.serving.worker.engines import get_engine
from tests.tiny import make_tiny_encoder

from .conftest import Reference, user

pytestmark = [pytest.mark.slow, pytest.mark.rare]
LINEAR = 2 * 7  # matrices of the tiny model's layers


def load(engine: str, folder: Path, **options: str) -> Any:
    found = get_engine(engine)
    spec = ModelSpec(name="m", engine=engine, model_path=str(folder), engine_options=options)
    return asyncio.run(found.load(spec, found.parse(options), 0))


@pytest.mark.parametrize(("written", "kind", "size"), [("4", "Linear4bit", 0.6), ("8", "Linear8bitLt", 0.7)])
def test_fewer_bits_answer(tiny_model: Path, tmp_path: Path, written: str, kind: str, size: float) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def layers(model: Any) -> int:
        return sum(type(module).__name__ == kind for module in model._batcher._model.modules())

    loaded = load("transformers", tiny_model, quantization=written)
    assert layers(loaded) == LINEAR
    whole = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert loaded._batcher._model.get_memory_footprint() < size * whole.get_memory_footprint()
    request = {"model": "m", "messages": user("hello"), "temperature": 0, "max_tokens": 20}
    answer = json.loads(asyncio.run(loaded.chat(request)))
    assert answer["choices"][0]["message"]["content"]

    bits.save(
        whole, AutoTokenizer.from_pretrained(tiny_model), tmp_path / "small", {"4": "nf4", "8": "int8"}[written], "1GB"
    )
    saved = load("transformers", tmp_path / "small")
    assert layers(saved) == LINEAR
    again = json.loads(asyncio.run(saved.chat(request)))
    assert again["choices"] == answer["choices"]
    with pytest.raises(ModelError, match="quantised already: bitsandbytes"):
        load("transformers", tmp_path / "small", quantization=written)


def test_what_has_no_fewer_bits(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="for models that write text"):
        load("transformers", make_tiny_encoder(tmp_path / "encoder"), quantization="4")


def test_deepspeed_refuses_what_it_does_not_do(tiny_model: Path, tmp_path: Path) -> None:
    engine = get_engine("deepspeed")
    spec = ModelSpec(name="m", engine="deepspeed", model_path=str(tiny_model))
    with pytest.raises(ModelError, match="does not cut one into the parts"):
        asyncio.run(engine.load(spec, engine.parse({}), 2))
    with pytest.raises(ModelError, match="need a GPU"):
        load("deepspeed", tiny_model, replace_with_kernel_inject="true")
    with pytest.raises(ModelError, match="makes vectors of texts; the engine deepspeed is for"):
        load("deepspeed", make_tiny_encoder(tmp_path / "encoder"))


def test_vllm_takes_a_folder_in_8_bits(serving: Serving, tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "w8a8"
    shutil.copytree(tiny_model, folder)
    in_8_bits(folder)
    serving.deploy(ModelSpec(name="w8a8", engine="vllm", model_path=str(folder), cpus_per_worker=0.1))
    body = {"model": "w8a8", "messages": user("say 3"), "temperature": 0, "max_tokens": 20}
    answer = httpx.post(f"{serving.endpoint}/v1/chat/completions", json=body, timeout=120).json()
    serving.undeploy("w8a8")
    # These few tokens are so far ahead of the others that 8 bits do not change them.
    assert answer["choices"][0]["message"]["content"] == Reference(tiny_model).chat("say 3", 20).text


def in_8_bits(folder: Path) -> None:
    """The layers' matrices as int8 with a scale for each row, as compressed-tensors has it."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    for name in [name for name in weights if name.endswith("proj.weight")]:
        scale = weights[name].abs().amax(1, keepdim=True) / 127
        weights[name], weights[f"{name}_scale"] = (weights[name] / scale).round().to(torch.int8), scale
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    shared = {"num_bits": 8, "type": "int", "symmetric": True}
    group = {
        "targets": ["Linear"],
        "weights": {**shared, "strategy": "channel", "dynamic": False},
        "input_activations": {**shared, "strategy": "token", "dynamic": True},
    }
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "compressed-tensors", "format": "int-quantized", "quantization_status": "compressed",
        "ignore": ["lm_head"], "config_groups": {"group_0": group},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
