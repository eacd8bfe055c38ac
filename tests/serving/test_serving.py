"""Deploying: what a spec may say, what a failure says, what stays behind."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save_file

from sqlllm.errors import ModelError, OptionError, SetupError
from sqlllm.jobs.serving import ModelSpec, Serving
from sqlllm.jobs.serving.worker.engines import get_engine
from sqlllm.settings import Settings

from .conftest import Reference, user


def change_config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("engine", "options", "value"),
    [
        ("vllm", {"max_model_len": "512"}, 512),
        ("vllm", {"gpu_memory_utilization": "0.5"}, 0.5),
        ("vllm", {"enforce_eager": "True"}, True),
        ("vllm", {"quantization": "AWQ"}, "awq"),
        ("vllm", {"revision": "1.0"}, "1.0"),
        ("vllm", {"hf_overrides": '{"rope_theta": 5}'}, {"rope_theta": 5}),
        ("transformers", {"max_batch_size": "8"}, 8),
        ("transformers", {"dtype": "bfloat16"}, "bfloat16"),
        ("transformers", {"quantization": "4"}, "nf4"),
        ("transformers", {"quantization": "false"}, ""),
        ("transformers", {"quantization": "INT8"}, "int8"),
        ("deepspeed", {"max_batch_size": "8"}, 8),
        ("llama_cpp", {"n_ctx": "512"}, 512),
        ("llama_cpp", {"rope_freq_scale": "1"}, 1.0),
    ],
)
def test_options_are_typed_by_the_engine_s_own_arguments(engine: str, options: dict[str, str], value: object) -> None:
    (key,) = options
    assert get_engine(engine).parse(options)[key] == value


@pytest.mark.parametrize(
    ("engine", "options", "key", "words"),
    [
        ("vllm", {"lora_modules": "/models/french"}, "backend.lora_modules", "by name"),
        ("vllm", {"max_modl_len": "512"}, "backend.max_modl_len", "Did you mean max_model_len?"),
        ("vllm", {"served_model_name": "x"}, "backend.served_model_name", "Known options of vLLM"),
        ("transformers", {"dtyp": "float32"}, "backend.dtyp", "Did you mean dtype?"),
        ("transformers", {"max_batch_size": "many"}, "backend.max_batch_size", "valid integer"),
        ("transformers", {"dtype": "float99"}, "backend.dtype", "float16"),
        ("transformers", {"quantization": "3"}, "backend.quantization", "int8"),
        ("transformers", {"quatization": "4"}, "backend.quatization", "Did you mean quantization?"),
        ("deepspeed", {"quantization": "4"}, "backend.quantization", "is not an option of DeepSpeed"),
        ("deepspeed", {"kernel_injectt": "true"}, "backend.kernel_injectt", "options of deepspeed"),
        ("vllm", {"quantization": "4"}, "backend.quantization", 'inferBackend="transformers"'),
        ("vllm", {"quantization": "awk"}, "backend.quantization", "awq"),
        ("llama_cpp", {"n_gpu_layer": "1"}, "backend.n_gpu_layer", "Did you mean n_gpu_layers?"),
        ("llama_cpp", {"n_parallel": "0"}, "backend.n_parallel", "at least 1"),
        ("llama_cpp", {"n_batch": "many"}, "backend.n_batch", "not a valid int"),
        ("llama_cpp", {"type_k": "f31"}, "backend.type_k", "q8_0"),
        ("llama_cpp", {"split_mode": "half"}, "backend.split_mode", "layer"),
        ("llama_cpp", {"chat_format": "llama-2"}, "backend.chat_template", "Jinja"),
    ],
)
def test_a_wrong_option_is_named(engine: str, options: dict[str, str], key: str, words: str) -> None:
    with pytest.raises(OptionError) as caught:
        get_engine(engine).parse(options)
    assert caught.value.key == key
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("values", "key", "words"),
    [
        ({"replicas": 0}, "replicas", "greater than or equal to 1"),
        ({"replica": 2}, "replica", "Did you mean replicas?"),
        ({"name": "a b"}, "name", 'Write "a-b".'),
        ({"name": "org/model"}, "name", 'Write "model". Requests may use the longer name'),
        ({"cpus_per_worker": "x"}, "cpus_per_worker", "valid number"),
    ],
)
def test_a_wrong_spec_is_named(values: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(OptionError) as caught:
        ModelSpec.parse(**{"name": "m", "model_path": "x", **values})
    assert caught.value.key == key
    assert words in str(caught.value)


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(OptionError, match="Did you mean transformers") as caught:
        get_engine("transfomers")
    assert caught.value.key == "engine"


def test_sql_spelling_of_engine_options() -> None:
    spec = ModelSpec(name="m", model_path="x", engine_options={"backend.dtype": "float32"})
    assert spec.engine_options == {"dtype": "float32"}


@pytest.mark.parametrize(("make", "words"), [(None, "does not exist"), (Path.mkdir, "has no config.json")])
def test_a_folder_without_a_model_is_refused_before_anything_starts(
    tmp_path: Path, make: Callable[[Path], None] | None, words: str
) -> None:
    folder = tmp_path / "absent"
    if make:
        make(folder)
    with pytest.raises(ModelError, match=words) as caught:
        Serving(Settings()).deploy(ModelSpec(name="m", engine="transformers", model_path=str(folder)))
    assert "config.json" in caught.value.cure


@pytest.mark.parametrize("engine", ["transformers", "vllm", "deepspeed"])
def test_weights_that_are_cut_short_are_refused_before_anything_starts(tmp_path: Path, engine: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    weights = tmp_path / "model.safetensors"
    save_file({"a": np.zeros(1000)}, weights)
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"model.safetensors is cut short or damaged: .* not fully covered") as caught:
        Serving(Settings()).deploy(ModelSpec(name="m", engine=engine, model_path=str(tmp_path)))
    assert "git lfs pull" in caught.value.cure


def test_a_port_in_use_is_named() -> None:
    # In a process of its own: the gateway of this one has its port already.
    code = "\n".join(
        (
            "import sys",
            "from sqlllm.errors import SetupError",
            "from sqlllm.jobs.serving.deploy.ports import reserve",
            "try: reserve('127.0.0.1', int(sys.argv[1]))",
            "except SetupError as error: sys.exit(str(error))",
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run([sys.executable, "-c", code, str(port)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 is in use" in done.stderr
    assert "serving.port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_free_port_is_held_until_the_gateway_has_it() -> None:
    from sqlllm.jobs.serving.deploy.ports import reserve

    with reserve("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        with pytest.raises(SetupError, match="in use"):
            reserve("127.0.0.1", port)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["transformers", pytest.param("vllm", marks=pytest.mark.rare)])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        # Transformers would go on with random ones.
        (change_config(num_hidden_layers=3), "lacks the weights|weights were not initialized from checkpoint"),
        (change_config(model_type="unheard_of", architectures=["UnheardOf"]), "does not recognize this architecture"),
    ],
)
def test_a_model_that_does_not_load_says_why_and_leaves_nothing(
    serving: Serving, tiny_model: Path, tmp_path: Path, engine: str, damage: Callable[[Path], None], words: str
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_model, folder)
    damage(folder)
    with pytest.raises(ModelError, match=f"model broken did not load: .*({words})") as caught:
        serving.deploy(ModelSpec(name="broken", engine=engine, model_path=str(folder)))
    assert "Traceback" not in str(caught.value)
    assert "ray::" not in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3
    assert "broken" not in {deployment.name for deployment in serving.models()}


@pytest.mark.slow
def test_weights_that_only_the_worker_sees_are_refused_by_it(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_model, folder)
    (folder / "model.safetensors").write_bytes(b"not weights")
    engine = get_engine("transformers")
    spec = ModelSpec(name="m", engine="transformers", model_path=str(folder))
    with pytest.raises(ModelError, match="SafetensorError: Error while deserializing header"):
        asyncio.run(engine.load(spec, engine.parse({}), 0))


@pytest.mark.slow
def test_more_than_the_cluster_has_is_refused_at_once(serving: Serving, tiny_model: Path) -> None:
    spec = ModelSpec(name="large", engine="transformers", model_path=str(tiny_model), cpus_per_worker=1000)
    with pytest.raises(ModelError, match="needs 1000 CPUs"):
        serving.deploy(spec)


@pytest.mark.slow
def test_the_life_of_a_deployment(serving: Serving, http: httpx.Client, tiny_model: Path) -> None:
    import ray

    def ask(text: str) -> httpx.Response:
        body = {"model": "life", "messages": user(text), "temperature": 0, "max_tokens": 4}
        return http.post("/v1/chat/completions", json=body)

    assert ask("hello").status_code == 404

    said: list[str] = []
    spec = ModelSpec(name="life", engine="transformers", model_path=str(tiny_model))
    first = serving.deploy(spec, said.append)
    assert (first.name, first.backend, first.state, first.replicas) == ("life", "transformers", "RUNNING", 1)
    assert first.seconds > 0
    assert any("loading" in line for line in said)
    assert ask("hello").status_code == 200
    assert [row.model for row in serving.models() if row.name == "life"] == [str(tiny_model)]

    again = serving.deploy(spec, pytest.fail)
    assert again.seconds == 0

    every = ray.cluster_resources()["CPU"]  # type: ignore[no-untyped-call]
    with pytest.raises(ModelError, match=rf"needs {every:g} CPUs and .* are free; deployed: .*life"):
        serving.deploy(ModelSpec(name="greedy", model_path=str(tiny_model), cpus_per_worker=every))

    serving.deploy(spec.model_copy(update={"engine_options": {"max_model_len": "16"}}))
    refused = ask("x " * 20)
    assert refused.status_code == 400
    assert "16 tokens" in refused.text

    serving.undeploy("life")
    serving.undeploy("life")
    assert "life" not in {row.name for row in serving.models()}
    for _ in range(100):  # the gateway knows it within two seconds
        if ask("hello").status_code == 404:
            break
    assert ask("hello").status_code == 404


@pytest.mark.slow
def test_a_full_queue_asks_for_patience(serving: Serving) -> None:
    options = {"function": "tests.serving.oracles:upper", "latency": "0.5"}
    serving.deploy(ModelSpec(name="narrow", engine="oracle", model_path="", engine_options=options, concurrency=1))

    async def flood() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=serving.endpoint, timeout=120) as client:
            body = {"model": "narrow", "messages": user("hello"), "temperature": 0.7}
            return await asyncio.gather(*(client.post("/v1/chat/completions", json=body) for _ in range(40)))

    replies = asyncio.run(flood())
    serving.undeploy("narrow")
    assert {reply.status_code for reply in replies} == {200, 429}
    full = next(reply for reply in replies if reply.status_code == 429)
    assert full.headers["retry-after"] == "1"
    assert full.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.slow
@pytest.mark.rare  # a vLLM of its own
def test_an_adapter_folder_is_merged_into_its_base_or_shares_it_by_name(
    serving: Serving, http: httpx.Client, tiny_model: Path, tmp_path: Path
) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        base = AutoModelForCausalLM.from_pretrained(tiny_model)
        adapted = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    merged = Reference(tiny_model)
    expected = merged.chat("hello", 30).text
    merged.model = adapted.merge_and_unload()
    changed = merged.chat("hello", 30).text
    assert changed != expected, "the test needs an adapter that changes the answer"

    engine = get_engine("transformers")
    spec = ModelSpec(name="adapted", engine="transformers", model_path=str(tmp_path / "adapter"))
    engine.check(spec, options := engine.parse({}))
    loaded: Any = asyncio.run(engine.load(spec, options, 0))
    body = {"model": "adapted", "messages": user("hello"), "temperature": 0, "max_tokens": 30}
    assert json.loads(asyncio.run(loaded.chat(body)))["choices"][0]["message"]["content"] == changed

    options = {"lora_modules": json.dumps({"french": str(tmp_path / "adapter")})}
    serving.deploy(ModelSpec(name="adapted", engine="vllm", model_path=str(tiny_model), engine_options=options))
    assert http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"] == expected
    batch = {**body, "messages": [user("hello")] * 2, "lora_name": "french"}
    choices = http.post("/v1/chat/completions/batch", json=batch).json()["choices"]
    assert [choice["message"]["content"] for choice in choices] == [changed] * 2
    refused = http.post("/v1/chat/completions", json={**body, "lora_name": "german"}).json()["error"]
    serving.undeploy("adapted")
    assert refused["message"] == "there is no adapter german; known: french"
