"""llama.cpp: what is its own. What it does as the other engines do is in the contract suite."""

from __future__ import annotations

import asyncio
import shutil
from base64 import b64decode
from pathlib import Path
from typing import Any

import orjson
import pytest

from sqlllm.errors import ModelError, OptionError
from sqlllm.jobs.serving import ModelSpec, Serving
from sqlllm.jobs.serving.protocol import RequestError
from sqlllm.jobs.serving.worker.engines import get_engine, gguf_header, routes
from sqlllm.jobs.serving.worker.engines.llama_cpp import LlamaCpp
from sqlllm.jobs.serving.worker.meta import meta
from sqlllm.session.llm import kinds
from tests.tiny import make_tiny_model

from .conftest import CONTEXT, LLAMA_CPP, Reference, make_gguf, user

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


def run(file: Path, asks: Any, **options: str) -> Any:
    """What the coroutine function `asks` finds with the model loaded in this process."""

    async def with_model() -> Any:
        spec = ModelSpec(name="m", engine="llama_cpp", model_path=str(file))
        model = await LlamaCpp.load(spec, LlamaCpp.parse(LLAMA_CPP | options), 0)
        try:
            return await asks(model)
        finally:
            await model.close()

    return asyncio.run(with_model())


def test_byzer_s_names_of_options() -> None:
    import xllamacpp

    given = {"num_gpu_layers": "-1", "type_k": "q8_0", "use_mmap": "false", "use_mlock": "true", "offload_kqv": "true"}
    assert LlamaCpp.parse({**given, "chat_format": "chatml", "n_threads": "2"}) == {
        "n_gpu_layers": -1,
        "cache_type_k": xllamacpp.ggml_type.GGML_TYPE_Q8_0,
        "load_mode": xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_MLOCK,
        "no_kv_offload": False,
        "chat_template": "chatml",
        "n_threads": 2,
    }


def test_the_file_that_is_meant(tmp_path: Path) -> None:
    assert gguf_header.find(tmp_path) is None
    for name in ("mmproj-model.gguf", "model-00002-of-00002.gguf", "model-00001-of-00002.gguf"):
        (tmp_path / name).touch()
    assert gguf_header.find(tmp_path) == tmp_path / "model-00001-of-00002.gguf"
    (tmp_path / "other.gguf").touch()
    with pytest.raises(ModelError, match=r"several models: model-00001-of-00002\.gguf, other\.gguf"):
        gguf_header.find(tmp_path)
    (tmp_path / "config.json").touch()
    assert gguf_header.find(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"", "cut short"),
        (b"PK" * 9, "is not a GGUF"),
        (b"GGUF\3\0\0\0", "cut short"),
    ],
)
def test_a_file_that_is_not_a_model(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "model.gguf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ModelError, match=words):
        LlamaCpp.check(ModelSpec(name="m", model_path=str(file)), {})


def test_a_folder_in_another_layout_is_sent_to_its_engine(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no GGUF file") as caught:
        LlamaCpp.check(ModelSpec(name="m", model_path=str(tmp_path)), {})
    assert 'format="gguf"' in caught.value.cure
    (tmp_path / "model.gguf").touch()
    with pytest.raises(ModelError) as caught:
        get_engine("vllm").check(ModelSpec(name="m", model_path=str(tmp_path)), {})
    assert 'inferBackend="llama_cpp"' in caught.value.cure


@pytest.mark.slow
def test_what_a_file_says_of_itself(tiny_gguf: Path) -> None:
    header = gguf_header.read(tiny_gguf)
    assert (header["general.architecture"], gguf_header.context(header), gguf_header.kind(header)) == (
        "llama", CONTEXT, "chat",
    )  # fmt: skip
    assert [kinds.engine(kind, str(tiny_gguf)) for kind in ("", "custom/llama2", "llama_cpp")] == ["llama_cpp"] * 3
    with pytest.raises(OptionError, match=r"makes vectors of texts, but the model in .* writes text"):
        kinds.engine("custom/bge", str(tiny_gguf))
    found = meta(ModelSpec(name="m", engine="llama_cpp", model_path=str(tiny_gguf)))
    assert (found["architectures"], found["max_model_len"], found["support_chat_template"]) == (
        ["llama"],
        CONTEXT,
        True,
    )


@pytest.mark.slow
def test_what_it_does_not_do_is_refused(tmp_path: Path) -> None:
    file = make_gguf(make_tiny_model(tmp_path / "plain"))  # its template has no place for tools
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa"}}

    async def ask(model: Any) -> list[tuple[str | None, str]]:
        wrong: list[dict[str, Any]] = [
            {"messages": user("x"), "tools": TOOLS},
            {"messages": [{"role": "user", "content": [image]}]},
            {"messages": user("x"), "n": 0},
            {
                "messages": user("x"),
                "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "odd"}}},
            },
            {"messages": user("hello"), "max_tokens": CONTEXT},
        ]
        found = []
        for request in wrong:
            with pytest.raises(RequestError) as caught:
                await model.chat({"model": "m", **request})
            assert caught.value.status == 400
            found.append((caught.value.code, caught.value.message))
        return found

    found = run(file, ask)
    assert [code for code, _ in found] == ["unsupported_by_model"] * 2 + [None, None, "context_length_exceeded"]
    assert "no place for tools" in found[0][1]
    assert f"max_tokens asks for {CONTEXT} more" in found[4][1]


@pytest.mark.slow
def test_completions_have_log_probabilities_and_schemas(tiny_gguf: Path, tiny_model: Path) -> None:
    async def ask(model: Any) -> list[dict[str, Any]]:
        shared = {"model": "m", "prompt": "hello", "temperature": 0}
        form = {"type": "json_schema", "json_schema": {"schema": {"enum": ["yes", "no"]}}}
        asked = ({"max_tokens": 5, "logprobs": 2}, {"max_tokens": 30, "response_format": form})
        return [orjson.loads(await model.completions(shared | one))["choices"][0] for one in asked]

    plain, held = run(tiny_gguf, ask)
    assert plain["text"] == Reference(tiny_model).completion("hello", 5).text == "".join(plain["logprobs"]["tokens"])
    assert [len(top) for top in plain["logprobs"]["top_logprobs"]] == [2] * 5
    assert plain["logprobs"]["text_offset"][:2] == [0, len(plain["logprobs"]["tokens"][0])]
    assert orjson.loads(held["text"]) in ("yes", "no")


@pytest.mark.slow
def test_a_closed_stream_ends_its_answer(tmp_path: Path) -> None:
    file = make_gguf(make_tiny_model(tmp_path / "long", context=16_384))  # seconds, if it went on

    async def ask(model: Any) -> int:
        stream = model.stream("chat", {"model": "m", "messages": user("x"), "ignore_eos": True})
        await anext(stream)
        await stream.aclose()
        while (slot := (await model._aside.get("/slots")).json()[0])["is_processing"]:
            await asyncio.sleep(0.01)
        return int(slot["n_prompt_tokens"])  # with those of the answer so far

    assert run(file, ask, n_parallel="1", n_ctx="16384") < 8000


@pytest.mark.slow
def test_vectors_are_the_mean_of_the_model_s_states(tiny_gguf: Path, tiny_model: Path) -> None:
    import numpy as np
    import torch

    reference = Reference(tiny_model)
    texts = ["hello", "the quick brown fox", "x " * 40]

    async def ask(model: Any) -> Any:
        assert routes(model) == ["embeddings"]
        with pytest.raises(RequestError, match="context is 256 tokens"):
            await model.embeddings({"model": "m", "input": "x " * 300})
        request = {"model": "m", "input": texts, "encoding_format": "base64"}
        await model.embeddings({"model": "m", "input": "x " * 300, "truncate_prompt_tokens": -1})
        return orjson.loads(await model.embeddings(request))

    answer = run(tiny_gguf, ask, embedding="true", pooling_type="mean", n_ctx="256")
    for text, found in zip(texts, answer["data"], strict=True):
        with torch.inference_mode():
            states = reference.model.model(**reference.tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = torch.nn.functional.normalize(states.mean(0), dim=0).numpy()
        assert np.frombuffer(b64decode(found["embedding"]), "<f4") == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_a_file_that_does_not_load_says_why(serving: Serving, tiny_gguf: Path, tmp_path: Path) -> None:
    file = tmp_path / "short.gguf"
    shutil.copy(tiny_gguf, file)
    with file.open("r+b") as opened:
        opened.truncate(tiny_gguf.stat().st_size // 2)
    spec = ModelSpec(name="short", engine="llama_cpp", model_path=str(file), cpus_per_worker=0.1)
    with pytest.raises(ModelError, match="not within the file bounds") as caught:
        serving.deploy(spec)
    assert len(str(caught.value).splitlines()) <= 3
    long = spec.model_copy(update={"model_path": str(tiny_gguf), "engine_options": {"n_ctx": "513"}})
    with pytest.raises(ModelError, match=r"n_ctx=513 is more than the 512"):
        serving.deploy(long)
    layers = spec.model_copy(update={"model_path": str(tiny_gguf), "engine_options": {"n_gpu_layers": "4"}})
    with pytest.raises(ModelError, match="layers are to be on a GPU"):
        serving.deploy(layers)
