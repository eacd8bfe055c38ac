"""Batches, as SQL sends them, of models that hear, speak and draw."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqlllm.errors import ModelError
from sqlllm.jobs.serving.worker.engines import routes, sounds
from sqlllm.jobs.serving.worker.tasks import TASKS, meant
from sqlllm.udfs.answers import answer
from sqlllm.udfs.requests import parse

from .made import MARKS, RATE, heard, load, said, sound

pytestmark = MARKS


def batch(model: Any, *rows: dict[str, str]) -> list[dict[str, Any]]:
    """The answers of the SQL function, or their errors."""
    asked = [parse(json.dumps(row)) for row in rows]
    assert all(asked)
    conversations = [one for one in asked if one is not None]
    route = meant("chat_batch", routes(model))
    assert route != "chat_batch"
    messages = [conversation.messages for conversation in conversations]
    request = {"model": "m", "messages": messages, **json.loads(conversations[0].params)}
    choices = json.loads(asyncio.run(TASKS[route].run(model, request)))["choices"]
    return [
        choice["error"] if "error" in choice else json.loads(answer(conversation, choice, milliseconds=1))
        for conversation, choice in zip(conversations, choices, strict=True)
    ]


def test_a_batch_is_what_the_model_does(ear: tuple[Any, Path], mouth: Any, brush: Any) -> None:
    one, bad, other = batch(
        ear[0],
        {"audio": sound(1), "language": "de"},
        {"audio": "bm8gc291bmQ=", "language": "de"},
        {"audio": sound(3), "language": "de", "instruction": "names " * 100},  # more than it reads
    )
    assert one["output"] == json.loads(heard(ear, file=sound(1), language="de"))["text"]
    assert (one["metadata"]["media_type"], "history" in one, "output" in other) == ("text/plain", False, True)
    assert "not a sound that can be read" in bad["message"]
    (srt,) = batch(ear[0], {"audio": sound(1), "response_format": "srt"})
    assert srt["output"] == heard(ear, file=sound(1), response_format="srt")
    assert "send a sound, in SQL llm_param" in batch(ear[0], {"instruction": "hello"})[0]["message"]

    (spoken,) = batch(mouth, {"instruction": "hello", "response_format": "wav", "seed": "3"})
    assert np.allclose(sounds.decode(base64.b64decode(spoken["output"]), RATE, 9), said(mouth, "hello", seed=3))
    assert spoken["metadata"]["media_type"] == "audio/wav"
    cats = batch(brush, *[{"instruction": name, "sampling_steps": "2"} for name in ("cat", "cat", "dog")])
    assert cats[0]["output"] == cats[1]["output"] != cats[2]["output"]


def test_byzers_json_is_understood(ear: tuple[Any, Path], mouth: Any) -> None:
    asked = {"audio": f"data:audio/wav;base64,{sound(1)}"}
    (told,) = batch(ear[0], {"instruction": json.dumps(asked)})
    assert {"text", "segments", "language"} <= json.loads(told["output"]).keys()
    (spoken,) = batch(mouth, {"instruction": json.dumps({"input": "hello", "response_format": "flac"})})
    assert base64.b64decode(spoken["output"])[:4] == b"fLaC"


def test_a_kind_of_model_that_the_engine_does_not_know_is_refused(tmp_path: Path) -> None:
    for architecture, kind, known in (
        ("MoonshineForConditionalGeneration", "moonshine", "Whisper"),
        ("MusicgenForConditionalGeneration", "musicgen", "Bark and VITS"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture], "model_type": kind}))
        with pytest.raises(ModelError, match=f"(?s)kind {kind}.*{known}"):
            load(tmp_path)
