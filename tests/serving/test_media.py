"""Models that hear, speak, see and draw: the engine by itself, against what its library says of the same input."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqlllm.errors import ModelError
from sqlllm.jobs.serving import ModelSpec
from sqlllm.jobs.serving.engines import pictures, routes, sounds
from sqlllm.jobs.serving.engines.together import Lane
from sqlllm.jobs.serving.engines.transformers import Transformers
from sqlllm.jobs.serving.protocol import RequestError
from sqlllm.jobs.serving.tasks import TASKS, meant
from sqlllm.udfs.requests import answer, parse
from tests import tiny_media

pytestmark = [
    pytest.mark.slow,
    # What the libraries do when they are imported.
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
RATE = 16_000


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


# Sounds


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
        (b"", "no sound that can be read"),
        (b"RIFF" + b"x" * 100, "no sound that can be read"),
        (sounds.encode(tone(0, 1), RATE, "wav"), "has no sound in it"),
        (sounds.encode(tone(11, 440), RATE, "mp3"), "longer than 10 seconds"),
    ],
)
def test_what_is_no_sound_is_refused(file: bytes, said: str) -> None:
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


# Speech recognition


@pytest.fixture(scope="module")
def ear(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tiny_media.make_tiny_whisper(tmp_path_factory.mktemp("ear") / "model")
    return load(folder), folder


def heard(ear: tuple[Any, Path], **fields: Any) -> str:
    return str(asyncio.run(ear[0].transcriptions({"model": "m", **fields})).content.decode())


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


# Speech synthesis


@pytest.fixture(scope="module")
def mouth(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load(tiny_media.make_tiny_vits(tmp_path_factory.mktemp("mouth") / "model", speakers=2))


@pytest.fixture(scope="module")
def bark(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load(tiny_media.make_tiny_bark(tmp_path_factory.mktemp("bark") / "model"))


def said(model: Any, text: str, form: str = "wav", **fields: Any) -> Any:
    """Samples, at 16 kHz."""
    spoken = asyncio.run(model.speech({"model": "m", "input": text, "response_format": form, **fields}))
    assert spoken.media_type == sounds.FORMATS[form][1]
    return sounds.decode(spoken.content, RATE, 100)


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


# Images


@pytest.fixture(scope="module")
def eye(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tiny_media.make_tiny_vision(tmp_path_factory.mktemp("eye") / "model")
    return load(folder, allowed_media_domains='["127.0.0.1"]'), folder


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
        inputs = asyncio.run(model._read(messages, {}))
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
    """Where a red image is, something that is none, and a redirect."""

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
def test_a_part_that_is_no_text_and_no_image_is_refused(eye: tuple[Any, Path], content: list[Any]) -> None:
    messages = shown("what?", data("red"))
    messages[0]["content"] += content
    assert refusal(eye[0].chat, messages=messages).param == "messages"


@pytest.fixture(scope="module")
def brush(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load(tiny_media.make_tiny_diffusion(tmp_path_factory.mktemp("brush") / "model"))


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


# Batches, as SQL sends them


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
    assert "no sound that can be read" in bad["message"]
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
