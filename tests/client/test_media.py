"""Images and sounds: where they come from, and what kind they are."""

from __future__ import annotations

import base64
import copy
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from sqlllm.client import LLM, Image, Sound
from sqlllm.errors import OptionError, ProviderError
from tests.client.server import Server, sends

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + b"\x00" * 16


def image_bytes(form: str) -> bytes:
    out = io.BytesIO()
    Pillow.new("RGB", (2, 2), "red").save(out, form)
    return out.getvalue()


PNG, WEBP = image_bytes("PNG"), image_bytes("WEBP")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_the_type_is_by_the_first_bytes_whatever_the_name(form: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(image_bytes(form))
    assert Image(path).mime == Image(str(path)).mime == Image(path.read_bytes()).mime == f"image/{form.lower()}"


def test_sources(tmp_path: Path) -> None:
    encoded = base64.b64encode(PNG).decode()
    for source in (PNG, bytearray(PNG), encoded, f"data:image/jpg,{encoded}", f"data:image/png;base64,{encoded}"):
        assert Image(source).data == PNG
    assert Image(Pillow.new("CMYK", (1, 1))).mime == "image/png"
    assert Image("https://x.org/a.jpg?sig=a%20b").address == "https://x.org/a.jpg?sig=a%20b"
    image = Image(PNG)
    assert Image.of(image) is image
    assert pickle.loads(pickle.dumps(image)) == copy.deepcopy(image) == image
    assert repr(image) == f"Image(<image/png, {len(PNG)} bytes>)"
    assert image.save(tmp_path / "a.png").read_bytes() == PNG


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere.png", "cannot be read"),
        (b"text", "unknown format"),
        (WAV, "audio/wav"),
        (3, "int is not"),
        ("data:image/png", "data:"),
    ],
)
def test_an_invalid_image_is_refused_before_anything_is_sent(source: Any, said: str, server: Server, llm: LLM) -> None:
    with pytest.raises(OptionError, match=said):
        llm.chat("What?", images=[source])
    assert not server.asked


def test_all_parts_reach_the_model_in_order(server: Server, llm: LLM) -> None:
    llm.chat("Compare", images=[PNG, "https://x.org/b.png?x=1"], sounds=[WAV])
    parts = server.bodies[0]["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["image_url", "image_url", "input_audio", "text"]
    assert parts[0]["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert parts[2]["input_audio"] == {"data": base64.b64encode(WAV).decode(), "format": "wav"}
    llm.chat([("user", ["first", Image(WEBP), "second", Sound("https://x.org/a.wav")])])
    parts = server.bodies[1]["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text", "audio_url"]


def test_transcribe_speak_draw(server: Server, llm: LLM, tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(WAV)
    server.say(sends(200, {"text": "hello", "language": "en", "duration": 1.5, "segments": [{"id": 0}], "words": []}))
    told = llm.transcribe(path, language="en", timestamp_granularities=["word", "segment"])
    assert (str(told), told.language, told.duration, len(told.segments)) == ("hello", "en", 1.5, 1)
    form = server.asked[0].raw
    assert server.asked[0].headers["content-type"].startswith("multipart/form-data; boundary=")
    for part in (b'filename="sound.wav"', b"audio/wav", WAV, b'name="timestamp_granularities[]"', b'name="model"'):
        assert part in form
    server.say(sends(200, WAV, content_type="audio/wav"))
    assert llm.speak("hello", voice="a").data == WAV
    server.say(sends(200, {"error": {"message": "no voice"}}))
    with pytest.raises(ProviderError, match="no voice"):
        llm.speak("hello")
    server.say(sends(200, {"data": [{"b64_json": base64.b64encode(PNG).decode()}, {"url": "http://x/y.png"}]}))
    images = llm.draw("a cat", n=2)
    assert (images[0].data, images[1].url) == (PNG, "http://x/y.png")
