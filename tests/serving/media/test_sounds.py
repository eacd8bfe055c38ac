"""Sound files, and work that is done together."""

from __future__ import annotations

import asyncio
import io
import threading
from typing import Any

import numpy as np
import pytest

from sqlllm.jobs.serving.protocol import RequestError
from sqlllm.jobs.serving.worker.engines import sounds
from sqlllm.jobs.serving.worker.engines.together import Lane

from .made import MARKS, RATE, tone

pytestmark = MARKS


@pytest.mark.parametrize("form", ["wav", "flac", "mp3", "opus"])
def test_a_sound_comes_back_at_another_rate(form: str) -> None:
    file = sounds.encode(tone(2, 440, 24_000), 24_000, form)
    samples = sounds.decode(file, RATE, 10)
    assert len(samples) == pytest.approx(2 * RATE, rel=0.02)
    loudest = np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples)
    assert loudest == pytest.approx(440, abs=5)


def test_channels_are_mixed() -> None:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.stack([tone(1, 300), -tone(1, 300)], 1), RATE, format="WAV")
    assert np.abs(sounds.decode(file.getvalue(), RATE, 10)).max() < 1e-4


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (b"", "not a sound that can be read"),
        (b"RIFF" + b"x" * 100, "not a sound that can be read"),
        (sounds.encode(tone(0, 1), RATE, "wav"), "has no sound in it"),
        (sounds.encode(tone(11, 440), RATE, "mp3"), "longer than 10 seconds"),
    ],
)
def test_bytes_that_are_not_a_sound_are_refused(file: bytes, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        sounds.decode(file, RATE, 10)


def test_what_is_alike_goes_together_and_a_bad_one_fails_alone() -> None:
    seen: list[tuple[str, list[int]]] = []
    free = threading.Event()

    def run(kind: str, items: list[int]) -> list[int]:
        free.wait(10)
        seen.append((kind, items))
        if 13 in items:
            raise ZeroDivisionError("thirteen")
        return [10 * item for item in items]

    async def ask() -> list[Any]:
        lane = Lane(run, 3)
        asked = [("a", 1), ("a", 2), ("a", 13), ("a", 4), ("b", 5)]
        first = asyncio.create_task(lane.do("a", 0))
        gone = asyncio.create_task(lane.do("a", 99))
        others = [asyncio.create_task(lane.do(kind, item)) for kind, item in asked]
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        free.set()
        return await asyncio.gather(first, *others, return_exceptions=True)

    answers = asyncio.run(ask())
    assert [answer for answer in answers if isinstance(answer, int)] == [0, 10, 20, 40, 50]
    failed = answers[3]
    assert isinstance(failed, RequestError)
    assert (failed.status, failed.message) == (500, "the model failed: ZeroDivisionError: thirteen")
    assert all(99 not in items for _, items in seen[1:])
    assert seen[-1] == ("b", [5])
    assert max(len(items) for _, items in seen) <= 3
