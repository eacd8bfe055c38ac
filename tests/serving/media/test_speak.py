"""Speech synthesis, against what its library says of the same words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .made import MARKS, RATE, refusal, said

pytestmark = MARKS


@pytest.mark.parametrize("form", ["mp3", "wav", "flac", "opus"])
def test_speech_is_a_sound_file(mouth: Any, form: str) -> None:
    assert len(said(mouth, "hello there", form, seed=1)) > RATE // 20


def test_a_seed_a_voice_and_a_speed_change_speech(mouth: Any) -> None:
    import torch
    from transformers import VitsModel, VitsTokenizer

    first = said(mouth, "hello there", seed=1, voice="1")
    assert np.array_equal(first, said(mouth, "hello there", seed=1, voice="1"))
    other, slow = said(mouth, "hello there", seed=1), said(mouth, "hello there", seed=1, voice="1", speed=0.5)
    assert first.shape != other.shape or not np.allclose(first, other)
    assert len(slow) > 1.5 * len(first)
    voice = mouth._voice
    assert isinstance(voice._model, VitsModel)
    assert isinstance(voice._tokenizer, VitsTokenizer)
    torch.manual_seed(1)
    with torch.no_grad():
        expected = voice._model(**voice._tokenizer("hello there", return_tensors="pt"), speaker_id=1).waveform[0]
    assert np.allclose(first, expected.clamp(-1, 1).numpy(), atol=1e-3)


def test_sentences_are_spoken_one_after_the_other(mouth: Any, bark: Any) -> None:
    for model in mouth, bark:
        assert (
            len(said(model, "hello there. how are you?\nfine", seed=1)) > RATE // 2 + RATE // 10
        )  # two pauses are half a second


def test_bark_has_the_voices_of_its_folder(bark: Any) -> None:
    assert len(said(bark, "hello", voice="v2/en_speaker_6")) > 0
    assert "Did you mean v2/en_speaker_6?" in refusal(bark.speech, input="hello", voice="v2/en_speaker_7").message
    assert "at its own speed" in refusal(bark.speech, input="hello", speed=2.0).message
    assert "end it with a full stop" in refusal(bark.speech, input="hello " * 40).message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": "123"}, "input"),  # it knows letters only
        ({"input": "a" * 5000}, "input"),
        ({"voice": "alloy"}, "voice"),
        ({"response_format": "aac"}, "response_format"),
        ({"speed": 9.0}, "speed"),
        ({"instructions": "sadly"}, "instructions"),
    ],
)
def test_wrong_speech_is_refused(mouth: Any, fields: dict[str, Any], param: str) -> None:
    error = refusal(mouth.speech, **{"input": "hello", **fields})
    assert (error.status, error.param) == (400, param)
