"""Speech recognition, against what its library says of the same sound."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from sqlllm.jobs.serving.worker.engines import sounds
from tests import tiny_media

from .made import MARKS, RATE, heard, load, refusal, sound

pytestmark = MARKS


def test_sounds_that_are_heard_together_are_heard_as_the_library_hears_each(ear: tuple[Any, Path]) -> None:
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer

    model, folder = ear
    files = [sound(0.5 + place, 150 + 200 * place, form) for place, form in enumerate(("wav", "flac", "wav"))]
    extract, tokenizer = WhisperFeatureExtractor.from_pretrained(folder), WhisperTokenizer.from_pretrained(folder)
    plain = WhisperForConditionalGeneration.from_pretrained(folder)
    expected = []
    for file in files:
        samples = sounds.decode(base64.b64decode(file), RATE, 60)
        features = extract(samples, sampling_rate=RATE, return_tensors="pt").input_features
        tokens = plain.generate(features, language="de", task="transcribe")
        expected.append(tokenizer.batch_decode(tokens, skip_special_tokens=True)[0].strip())
    assert len(set(expected)) > 1, "the test needs different texts"

    async def all_() -> list[Any]:
        asked = ({"model": "m", "file": file, "language": "German"} for file in files)
        return await asyncio.gather(*map(model.transcriptions, asked))

    together = [json.loads(answer.content)["text"] for answer in asyncio.run(all_())]
    assert together == expected
    assert [json.loads(heard(ear, file=file, language="de"))["text"] for file in files] == expected
    assert heard(ear, file=files[0], language="de", response_format="text") == expected[0] + "\n"


def test_a_long_sound_has_segments_in_every_form(ear: tuple[Any, Path]) -> None:
    long = sound(40)
    told = json.loads(heard(ear, file=long, response_format="verbose_json"))
    assert (told["duration"], told["language"] in ("english", "german", "chinese")) == (40, True)
    assert told["usage"] == {"type": "duration", "seconds": 40}
    segments = told["segments"]
    assert [segment["id"] for segment in segments] == list(range(len(segments)))
    assert all(0 <= segment["start"] <= segment["end"] <= 40 for segment in segments)
    assert segments[-1]["end"] > 30  # of the second window
    assert told["text"] == "".join(segment["text"] for segment in segments).strip()
    assert json.loads(heard(ear, file=long))["text"] == told["text"]  # as without times
    srt, vtt = (heard(ear, file=long, response_format=form) for form in ("srt", "vtt"))
    assert srt.startswith(f"1\n00:00:{segments[0]['start']:06.3f}".replace(".", ",") + " --> ")
    assert vtt.startswith(f"WEBVTT\n\n00:00:{segments[0]['start']:06.3f} --> ")
    assert srt.count(" --> ") == vtt.count(" --> ") == len(segments)


def test_the_event_loop_is_free_while_a_model_works(ear: tuple[Any, Path]) -> None:
    async def ask() -> int:
        work = asyncio.create_task(ear[0].transcriptions({"model": "m", "file": sound(90)}))
        beats = 0
        while not work.done():
            await ear[0].check_health()
            await asyncio.sleep(0.005)
            beats += 1
        return beats

    assert asyncio.run(ask()) > 5


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"language": "xx"}, "language", "does not know the language xx. Known languages: de, en, zh"),
        ({"response_format": "xml"}, "response_format", "'json', 'text', 'verbose_json', 'srt' or 'vtt'"),
        ({"prompt": "<|en|>"}, "prompt", "disallowed special token"),
        ({"file": "!!"}, "file", "not base64"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities", "segment"),
        ({"langage": "en"}, "langage", "did you mean language?"),
        ({"temperature": "2"}, "temperature", "less than or equal to 1"),
    ],
)
def test_a_wrong_transcription_is_refused(ear: tuple[Any, Path], fields: dict[str, Any], param: str, said: str) -> None:
    error = refusal(ear[0].transcriptions, **{"file": sound(0.5), **fields})
    assert (error.status, error.param) == (400, param)
    assert said in error.message


def test_an_english_model_knows_no_other_language(tmp_path: Path) -> None:
    model = load(tiny_media.make_tiny_whisper(tmp_path / "model", languages=()), max_audio_seconds="2")
    asked = {"model": "m", "file": sound(1), "language": "english", "response_format": "verbose_json"}
    assert json.loads(asyncio.run(model.transcriptions(asked)).content)["language"] == "english"
    assert "the language de" in refusal(model.transcriptions, file=sound(1), language="de").message
    assert "longer than 2 seconds" in refusal(model.transcriptions, file=sound(3)).message
