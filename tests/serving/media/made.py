"""Sounds and pictures, and what a model makes of them."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqlllm.jobs.serving import ModelSpec
from sqlllm.jobs.serving.protocol import RequestError
from sqlllm.jobs.serving.worker.engines import sounds
from sqlllm.jobs.serving.worker.engines.transformers import Transformers

RATE = 16_000
MARKS = [
    pytest.mark.slow,
    # What the libraries do when they are imported.
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def load(folder: Path, **options: str) -> Any:
    spec = ModelSpec(name="m", engine="transformers", model_path=str(folder))
    Transformers.check(spec, {})
    return asyncio.run(Transformers.load(spec, Transformers.parse(options), 0))


def tone(seconds: float, hertz: float, rate: int = RATE) -> Any:
    """Samples that wax and wane."""
    at = np.arange(int(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * hertz * at) * (1 + np.sin(6 * np.pi * at)) / 2).astype(np.float32)


def sound(seconds: float, hertz: float = 440, form: str = "wav") -> str:
    """A file, as a request has it."""
    return base64.b64encode(sounds.encode(tone(seconds, hertz), RATE, form)).decode()


def picture(color: str, width: int = 40, height: int = 24) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (width, height), color).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def refusal(call: Callable[[dict[str, Any]], Any], **fields: Any) -> RequestError:
    with pytest.raises(RequestError) as raised:
        asyncio.run(call({"model": "m", **fields}))
    return raised.value


def heard(ear: tuple[Any, Path], **fields: Any) -> str:
    return str(asyncio.run(ear[0].transcriptions({"model": "m", **fields})).content.decode())


def said(model: Any, text: str, form: str = "wav", **fields: Any) -> Any:
    """Samples, at 16 kHz."""
    spoken = asyncio.run(model.speech({"model": "m", "input": text, "response_format": form, **fields}))
    assert spoken.media_type == sounds.FORMATS[form][1]
    return sounds.decode(spoken.content, RATE, 100)
