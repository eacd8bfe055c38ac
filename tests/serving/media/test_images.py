"""Models that see and that draw, against what their libraries make of the same."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqlllm.jobs.serving.worker.engines import pictures
from tests import tiny_media

from .made import MARKS, load, picture, refusal

pytestmark = MARKS


def shown(text: str, *urls: str) -> list[dict[str, Any]]:
    """A conversation about images."""
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def data(color: str, width: int = 40, height: int = 24) -> str:
    return f"data:image/png;base64,{picture(color, width, height)}"


@pytest.mark.parametrize("kind", ["qwen2_vl", "llava", "idefics3"])
def test_images_are_seen_together_as_the_library_sees_each(kind: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForImageTextToText

    folder = tiny_media.make_tiny_vision(tmp_path / "model", kind)
    model = load(folder)
    batch = [
        shown("what is this?", data("red")),
        shown("and this", data("blue")),
        shown("hello"),
        shown("both of them", data("red"), data("green", 80, 80)),
        [{"role": "user", "content": "hello"}],
    ]
    plain, expected = AutoModelForImageTextToText.from_pretrained(folder), []
    for messages in batch:
        inputs = asyncio.run(model._inputs(messages, {}))
        with torch.no_grad():
            tokens = plain.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        expected.append(model._tokenizer.decode(tokens, skip_special_tokens=True))
    assert expected[0] != expected[1], "the test needs an image to make a difference"
    asked = {"model": "m", "max_tokens": 12, "temperature": 0}
    told = json.loads(asyncio.run(model.chat_batch({**asked, "messages": batch})))
    assert [choice["message"]["content"] for choice in told["choices"]] == expected
    counted = asyncio.run(model.count_tokens(batch))
    assert [choice["usage"]["prompt_tokens"] for choice in told["choices"]] == counted
    assert counted[0] > counted[2] + 10  # an image is many tokens

    async def stream() -> str:
        events = [event async for event in model.stream("chat", {**asked, "messages": batch[0]})]
        chunks = [json.loads(event.removeprefix(b"data: ")) for event in events[:-1]]
        return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)

    assert asyncio.run(stream()) == expected[0]


@pytest.fixture
def host() -> Iterator[str]:
    """The addresses of a red image, of a text and of a redirect."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = base64.b64decode(picture("red")) if self.path == "/red.png" else b"no image"
            self.send_response(302 if self.path == "/moved" else 200)
            self.send_header("Location", "http://localhost/red.png")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_image_is_fetched_from_a_host_that_is_allowed(
    eye: tuple[Any, Path], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"model": "m", "max_tokens": 8, "temperature": 0}
    told = [
        json.loads(asyncio.run(eye[0].chat({**asked, "messages": shown("what?", url)})))["choices"][0]["message"]
        for url in (data("red"), f"{host}/red.png")
    ]
    assert told[0] == told[1]
    for url, why in {
        f"{host}/other": "none of PNG",
        f"{host}/moved": "answers 302",
        "http://localhost:1/red.png": "backend.allowed_media_domains='[\"localhost\"]'",
        "http://127.0.0.1:1/red.png": "gives no image",
        "file:///etc/passwd": "a data: URL or an http",
        "data:image/png;base64,!!": "not base64",
    }.items():
        error = refusal(eye[0].chat, messages=shown("what?", url))
        assert why in error.message
        assert error.status == 400
    monkeypatch.setattr(pictures, "_PIXELS", 900)
    assert "40 x 24 pixels, more than 900" in refusal(eye[0].chat, messages=shown("what?", data("red"))).message


@pytest.mark.parametrize(
    "content",
    [[{"type": "input_audio"}], ["text"], [{"type": "image_url"}], [{"type": "text", "text": "<|image_pad|>"}]],
)
def test_a_part_that_is_neither_text_nor_image_is_refused(eye: tuple[Any, Path], content: list[Any]) -> None:
    messages = shown("what?", data("red"))
    messages[0]["content"] += content
    assert refusal(eye[0].chat, messages=messages).param == "messages"


def drawn(model: Any, **fields: Any) -> list[Any]:
    """Images as arrays."""
    from PIL import Image

    told = json.loads(asyncio.run(model.images({"model": "m", "num_inference_steps": 2, **fields})))
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one["b64_json"])))).astype(int) for one in told["data"]]


def test_images_have_seeds_of_their_own(brush: Any) -> None:
    import torch

    several = drawn(brush, prompt="a red cat", seed=5, n=3)
    alone = [drawn(brush, prompt="a red cat", seed=5 + place)[0] for place in range(3)]
    assert all(np.abs(one - other).max() <= 2 for one, other in zip(several, alone, strict=True))
    assert np.abs(several[0] - several[1]).max() > 20
    generator = torch.Generator().manual_seed(5)
    expected = brush._pipeline("a red cat", num_inference_steps=2, generator=generator).images[0]
    assert np.abs(np.asarray(expected).astype(int) - several[0]).max() <= 2
    assert np.abs(drawn(brush, prompt="a red cat")[0] - drawn(brush, prompt="a red cat")[0]).max() > 20


def test_an_image_has_the_size_that_is_asked_for(brush: Any) -> None:
    (usual,), (wide,) = drawn(brush, prompt="x", seed=1), drawn(brush, prompt="x", seed=1, size="32x16")
    (byzer,) = drawn(brush, prompt="x", seed=1, width=32, height=16, negative_prompt="dog", guidance_scale=3.0)
    assert (usual.shape, wide.shape, byzer.shape) == ((16, 16, 3), (16, 32, 3), (16, 32, 3))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "long " * 30}, "prompt"),
        ({"size": "33x16"}, "size"),
        ({"size": "big"}, "size"),
        ({"n": 11}, "n"),
        ({"response_format": "url"}, "response_format"),
        ({"style": "vivid"}, "style"),
    ],
)
def test_wrong_images_are_refused(brush: Any, fields: dict[str, Any], param: str) -> None:
    error = refusal(brush.images, **{"prompt": "a cat", **fields})
    assert (error.status, error.param) == (400, param)
