"""Speech synthesis with transformers: Bark, and VITS with its many languages (MMS)."""

from __future__ import annotations

import asyncio
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field

from sqlllm.errors import ModelError, suggest

from ...protocol import RequestError
from ...spec import ModelSpec
from . import Media, loading, sounds
from .requests import parse_fields
from .together import Lane

if TYPE_CHECKING:
    from .transformers import Options

_DEFAULT = "default"
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])|\n+")  # noqa: RUF001
_PAUSE = 0.25  # seconds between sentences


class SpeechRequest(BaseModel):
    """The fields of a request for speech."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    input: str = Field(min_length=1, max_length=4096)
    voice: str = _DEFAULT
    response_format: Literal["mp3", "wav", "flac", "opus", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4)
    seed: int | None = None


class _Kind(NamedTuple):
    """What sentences have in common that are spoken together."""

    voice: str
    speed: float
    seed: int | None
    alone: int  # of the sentences of a request with a seed: they do not depend on who else asks


class SpeakingModel:
    """A model behind `/v1/audio/speech`. Sentences are spoken one by one, those that wait together."""

    def __init__(self, voice: _Bark | _Vits, most: int) -> None:
        self._voice = voice
        self._lane = Lane(self._run, most)

    async def speech(self, request: dict[str, Any]) -> Media:
        """`input` as a sound file."""
        typed = parse_fields(request, SpeechRequest)
        if typed.voice not in self._voice.voices:
            cure = suggest(typed.voice, self._voice.voices, what="voices")
            raise RequestError(f"this model has no voice {typed.voice}. {cure}", param="voice")
        if typed.speed != 1 and not self._voice.has_speed:
            raise RequestError("this model speaks at its own speed: leave speed out", param="speed")
        sentences = [text for part in _SENTENCE.split(typed.input) if (text := self._voice.checked(part.strip()))]
        if not sentences:
            raise RequestError("input has nothing in it that this model can say", param="input")
        kind = _Kind(typed.voice, typed.speed, typed.seed, id(typed) if typed.seed is not None else 0)
        spoken = await asyncio.gather(*(self._lane.do(kind, sentence) for sentence in sentences))
        pause = np.zeros(int(_PAUSE * self._voice.rate), np.float32)
        samples = np.concatenate([part for one in spoken for part in (pause, one)][1:])
        form = typed.response_format
        content = await asyncio.to_thread(sounds.encode, samples, self._voice.rate, form)
        return Media(content, sounds.FORMATS[form][1])

    async def check_health(self) -> None:
        """Nothing of it can die alone."""

    def _run(self, kind: _Kind, sentences: list[str]) -> list[Any]:
        import torch

        if kind.seed is None:
            torch.seed()
        else:
            torch.manual_seed(kind.seed)
        with torch.inference_mode():
            waves, lengths = self._voice.say(sentences, kind)
        return [wave.float().cpu().numpy()[:length] for wave, length in zip(waves, lengths, strict=True)]


class _Bark:
    """Voices are the presets that the folder brings; the default one is another each time."""

    has_speed = False

    def __init__(self, folder: Path, options: Options, device: str) -> None:
        from transformers import BarkModel, BarkProcessor

        with loading.reasons():
            self._processor: Any = BarkProcessor.from_pretrained(folder, local_files_only=True)  # type: ignore[no-untyped-call]
        self._model = loading.weights(BarkModel, folder, options, device)
        self.rate: int = self._model.generation_config.sample_rate
        self.voices: list[str] = [_DEFAULT, *self._processor.available_voice_presets]
        self._longest: int = self._model.generation_config.semantic_config["max_input_semantic_length"]

    def checked(self, sentence: str) -> str:
        """The sentence; RequestError if it is too long."""
        tokens = len(self._processor.tokenizer(sentence, add_special_tokens=False)["input_ids"])
        if tokens > self._longest:
            raise RequestError(
                f"a sentence of input has {tokens} tokens, and Bark says {self._longest} at once:"
                " end it with a full stop or a new line",
                param="input",
            )
        return sentence

    def say(self, sentences: list[str], kind: _Kind) -> tuple[Any, list[int]]:
        """Waves and their lengths."""
        preset = None if kind.voice == _DEFAULT else kind.voice
        inputs = self._processor(sentences, voice_preset=preset, max_length=self._longest).to(self._model.device)
        waves, lengths = self._model.generate(**inputs, return_output_lengths=True)
        return waves, [int(length) for length in lengths]


class _Vits:
    """Voices are the numbers of the model's speakers."""

    has_speed = True

    def __init__(self, folder: Path, options: Options, device: str) -> None:
        from transformers import VitsModel, VitsTokenizer

        with loading.reasons():
            self._tokenizer: Any = VitsTokenizer.from_pretrained(folder, local_files_only=True)
        for wanted, package in (self._tokenizer.phonemize, "phonemizer"), (self._tokenizer.is_uroman, "uroman"):
            if wanted and find_spec(package) is None:  # else it leaves out what it cannot write
                raise ModelError(f"the model in {folder} reads text through {package}", cure=f"pip install {package}")
        self._model = loading.weights(VitsModel, folder, options, device)
        self.rate: int = self._model.config.sampling_rate
        self.voices = [_DEFAULT, *(str(number) for number in range(self._model.config.num_speakers))]

    def checked(self, sentence: str) -> str:
        """The sentence, or nothing if the model knows none of its characters."""
        known, _ = self._tokenizer.prepare_for_tokenization(sentence)
        return sentence if known.strip() else ""

    def say(self, sentences: list[str], kind: _Kind) -> tuple[Any, list[int]]:
        """Waves and their lengths."""
        inputs = self._tokenizer(sentences, padding=True, return_tensors="pt").to(self._model.device)
        speaker = {}
        if self._model.config.num_speakers > 1:
            speaker = {"speaker_id": 0 if kind.voice == _DEFAULT else int(kind.voice)}
        output = self._model(**inputs, speaking_rate=self._model.speaking_rate * kind.speed, **speaker)
        return output.waveform, output.sequence_lengths.tolist()


def load(spec: ModelSpec, options: Options, device: str) -> SpeakingModel:
    """Read the folder of a Bark or a VITS model."""
    sounds.require()
    folder = Path(spec.model_path)
    kind = orjson.loads((folder / "config.json").read_bytes()).get("model_type")
    known: dict[str, type[_Bark | _Vits]] = {"bark": _Bark, "vits": _Vits}
    if kind not in known:
        cure = "This engine speaks with Bark and VITS."
        raise ModelError(f"the model in {folder} is of the kind {kind}", cure=cure)
    return SpeakingModel(known[kind](folder, options, device), options.max_batch_size)
