"""Models that hear, speak, see and draw, from SQL under Byzer-LLM's names and by OpenAI's client: one of each."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import openai
import pytest

from sqlllm.session import Session
from tests import tiny_media
from tests.serving.media.made import picture, sound

from .cases import rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.jobs.serving import Serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.rare,
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def session(spark: SparkSession, serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session with the models ear, mouth, eye and brush, and sounds and a picture as files."""
    folder = tmp_path_factory.mktemp("media")
    models = {
        "ear": ("whisper", tiny_media.make_tiny_whisper(folder / "ear"), ""),
        "mouth": ("bark", tiny_media.make_tiny_vits(folder / "mouth"), ""),
        "eye": ("custom/qwen_vl_chat", tiny_media.make_tiny_vision(folder / "eye"), 'and inferBackend="transformers"'),
        "brush": ("custom/stable_diffusion", tiny_media.make_tiny_diffusion(folder / "brush"), ""),
    }
    (folder / "files").mkdir()
    for number in range(3):
        (folder / "files" / f"{number}.wav").write_bytes(base64.b64decode(sound(1 + number, 200 + 100 * number)))
    with Session(spark=spark) as session:
        session.__dict__["serving"] = serving
        session.override("home", str(folder / "home"))
        session.override("data", str(folder))
        session.run('!byzerllm setup single; !byzerllm setup "cpus_per_worker=0.1"; !byzerllm setup "num_gpus=0";')
        for name, (kind, path, more) in models.items():
            session.run(
                f'run command as LLM.`` where action="infer" and pretrainedModelType="{kind}" and udfName="{name}"'
                f' and localModelDir="{path}" {more};'
            )
        yield session
        session.__dict__.pop("serving")  # others use it
        for name in models:
            serving.undeploy(name)


@pytest.fixture
def client(serving: Serving, session: Session) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{serving.endpoint}/v1", api_key="none") as client:
        yield client


def test_a_table_of_sounds_is_written_down(session: Session, client: openai.OpenAI, tmp_path: Path) -> None:
    session.run("load binaryFile.`${data}/files/*.wav` as sounds;")
    rows = rows_of(
        session,
        """select ear(llm_param(map("audio", base64(content), "language", "de"))) as a, content from sounds as t;
        select llm_result(a) as text, a[0] as answer, content from t order by length(content) as t2;""",
    )
    assert len(rows) == 3
    for row in rows:
        heard = client.audio.transcriptions.create(
            model="ear",
            file=("a.wav", bytes(row["content"]), "audio/wav"),
            language="de",  # type: ignore[call-overload]
        )
        assert row["text"] == heard.text
        answer = json.loads(str(row["answer"]))
        assert answer["metadata"]["media_type"] == "text/plain"
        assert "history" not in answer
    with (Path(tmp_path) / "a.wav").open("wb+") as file:
        file.write(base64.b64decode(sound(2)))
        file.seek(0)
        told = client.audio.transcriptions.create(
            model="ear", file=file, response_format="verbose_json", timestamp_granularities=["segment"]
        )
        file.seek(0)
        srt = client.audio.transcriptions.create(model="ear", file=file, response_format="srt")
    assert told.duration == 2
    assert str(srt).count(" --> ") == len(told.segments or ())


def test_a_bad_row_is_an_error_of_its_own(session: Session) -> None:
    rows = rows_of(
        session,
        f"""select * from values (1, "{sound(1)}"), (2, "bm8gc291bmQ="), (3, null) as t(id, a) as t;
        select id, ear(llm_param(map("audio", a))) as r from t as t2;
        select id, llm_result(r) as text, llm_error(r) as error from t2 order by id as t3;
        """,
    )
    assert [row["error"] is None for row in rows] == [True, False, True]
    assert "not a sound that can be read" in str(rows[1]["error"])
    assert rows[2]["text"] is None
    (row,) = rows_of(
        session, 'select llm_error(ear(llm_param(map("instruction", "hello")))) as error from range(1) as t;'
    )
    assert "this model transcribes speech: send a sound" in str(row["error"])


def test_a_table_is_read_aloud(session: Session, client: openai.OpenAI) -> None:
    import soundfile

    rows = rows_of(
        session,
        """select mouth(llm_param(map("instruction", concat("hello ", chr(97 + id)), "response_format", "wav",
        "seed", "3"))) as a from range(3) as t;
        select llm_result(a) as sound, a[0] as answer from t as t2;""",
    )
    for letter, row in zip("abc", rows, strict=True):
        said = client.audio.speech.create(
            model="mouth", voice="default", input=f"hello {letter}", response_format="wav", extra_body={"seed": 3}
        )
        assert said.response.headers["content-type"] == "audio/wav"
        assert base64.b64decode(str(row["sound"])) == said.content
        assert json.loads(str(row["answer"]))["metadata"]["media_type"] == "audio/wav"
    assert soundfile.info(io.BytesIO(said.content)).samplerate == 16_000
    with pytest.raises(openai.BadRequestError, match="has no voice alloy") as raised:
        client.audio.speech.create(model="mouth", voice="alloy", input="hello")
    assert raised.value.param == "voice"


def test_a_table_of_pictures_is_looked_at(session: Session, client: openai.OpenAI) -> None:
    red, blue = picture("red"), picture("blue")
    rows = rows_of(
        session,
        f"""select * from values (1, "{red}"), (2, "data:image/png;base64,{blue}"), (3, "aaaa") as t(id, image) as t;
        select id, eye(llm_param(map("instruction", "what is this", "image", image, "max_tokens", "8"))) as r
        from t as t2;
        select id, llm_result(r) as text, llm_error(r) as error, r[0] as answer from t2 order by id as t3;
        """,
    )
    for image, row in zip((red, blue), rows, strict=False):
        parts = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
            {"type": "text", "text": "what is this"},
        ]
        told = client.chat.completions.create(
            model="eye",
            max_tokens=8,
            temperature=0,
            messages=[{"role": "user", "content": parts}],  # type: ignore[list-item, misc]
        )
        assert row["text"] == told.choices[0].message.content
    assert rows[0]["text"] != rows[1]["text"]
    assert "invalid_image" in str(rows[2]["error"])
    (row,) = rows_of(  # the picture is in the history
        session,
        """select eye(llm_stack(r, llm_param(map("instruction", "and now?", "max_tokens", "4")))) as r
        from t2 where id = 1 as t4;
        select r[0] as answer from t4 as t5;""",
    )
    history = json.loads(str(row["answer"]))["history"]
    assert [turn["role"] for turn in history] == ["user", "assistant", "user", "assistant"]
    assert history[0]["content"][0]["type"] == "image_url"


def test_a_table_is_drawn(session: Session, client: openai.OpenAI) -> None:
    rows = rows_of(
        session,
        """select llm_result(brush(llm_param(map("instruction", concat("a cat ", chr(97 + id)), "size", "16x16",
        "sampling_steps", "2")))) as image from range(2) as t;""",
    )
    assert all(base64.b64decode(str(row["image"])).startswith(b"\x89PNG") for row in rows)
    drawn = client.images.generate(
        model="brush", prompt="a cat a", n=2, size="auto", extra_body={"num_inference_steps": 2, "seed": 0}
    )
    assert len({image.b64_json for image in drawn.data or ()}) == 2
    with pytest.raises(openai.BadRequestError, match="a multiple of 8") as raised:
        client.images.generate(model="brush", prompt="a cat", size="17x16")  # type: ignore[call-overload]
    assert raised.value.param == "size"


def test_a_file_that_is_too_large_is_not_read(session: Session, client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError, match="25 MiB") as raised:
        client.with_options(max_retries=0).audio.transcriptions.create(model="ear", file=("a.wav", bytes(26 * 2**20)))
    assert raised.value.status_code == 413
    routes = {
        name: httpx.get(f"{session.serving.endpoint}/v1/models/{name}").json()["routes"]
        for name in ("ear", "mouth", "eye", "brush")
    }
    assert routes == {
        "ear": ["transcriptions"],
        "mouth": ["speech"],
        "eye": ["chat", "chat_batch", "completions"],
        "brush": ["images"],
    }
