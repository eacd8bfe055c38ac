"""Speech recognition with transformers: Whisper, in the forms that OpenAI's route promises."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field

from sqlllm.errors import ModelError, suggest

from ...protocol import JSON, RequestError
from ...spec import ModelSpec
from . import Media, loading, sounds
from .requests import parse_fields
from .together import Lane

if TYPE_CHECKING:
    from .transformers import Options

_RATE = 16_000  # Hz, of all Whisper models
_SHORTEST = _RATE // 10  # samples; less is filled up with silence
_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # the next is taken where the last one's text repeats itself
_REPEATS = 1.35  # how well a text's tokens compress that does, and below, from Whisper's paper, what is not speech
_UNSURE, _SILENT = -1.0, 0.6


class TranscriptionRequest(BaseModel):
    """The fields of a request for a transcription; in a form all values are texts."""

    model_config = ConfigDict(extra="forbid")

    model: str
    file: str
    language: str | None = None
    prompt: str | None = None
    response_format: Literal["json", "text", "verbose_json", "srt", "vtt"] = "json"
    temperature: float = Field(0, ge=0, le=1, description="0: 0, and more where the text repeats itself")
    timestamp_granularities: list[Literal["segment"]] = Field(["segment"], min_length=1)


class _Kind(NamedTuple):
    """What clips have in common that go through the model together."""

    language: str | None
    prompt: str | None
    temperature: float
    alone: int  # of one that goes by itself, with times


class _Segment(NamedTuple):
    start: float  # seconds
    end: float
    text: str
    tokens: list[int]


class _Heard(NamedTuple):
    text: str
    language: str
    segments: list[_Segment]


class WhisperModel:
    """A Whisper model behind `/v1/audio/transcriptions`."""

    def __init__(self, model: Any, extract: Any, tokenizer: Any, options: Options) -> None:
        """`extract` makes features of samples."""
        from transformers.models.whisper.tokenization_whisper import LANGUAGES

        self._model, self._extract, self._tokenizer = model, extract, tokenizer
        self._seconds = options.max_audio_seconds
        self._lane = Lane(self._run, options.max_batch_size)
        known = {token.strip("<|>") for token in getattr(model.generation_config, "lang_to_id", None) or ()}
        self._names = {code: name for code, name in LANGUAGES.items() if code in known}  # none: it knows English only

    async def transcriptions(self, request: dict[str, Any]) -> Media:
        """What is said in `file`."""
        typed = parse_fields(request, TranscriptionRequest)
        language = self._language(typed.language)
        file = sounds.content(typed.file, "file")
        samples = await asyncio.to_thread(sounds.decode, file, _RATE, self._seconds)
        timed = typed.response_format not in ("json", "text") or len(samples) > self._extract.n_samples
        kind = _Kind(language, typed.prompt or None, typed.temperature, id(samples) if timed else 0)
        heard: _Heard = await self._lane.do(kind, samples)
        return _written(heard, typed.response_format, len(samples) / _RATE)

    async def check_health(self) -> None:
        """Nothing of it can die alone."""

    def _language(self, asked: str | None) -> str | None:
        """The code of a language, of which the code or the name is given; None if the model is to find out."""
        if not asked:
            return None
        names = self._names or {"en": "english"}
        found = next((code for code, name in names.items() if asked.lower() in (code, name)), None)
        if found is None:
            cure = suggest(asked, list(names), what="languages")
            raise RequestError(f"this model does not know the language {asked}. {cure}", param="language")
        return found if self._names else None

    def _run(self, kind: _Kind, clips: list[Any]) -> list[_Heard]:
        """Of short clips the text alone; of a long clip, or where times are asked for, its segments."""
        import torch

        torch.manual_seed(0)  # the same sound, the same text, where it has to try again
        with torch.inference_mode():
            return self._listen(kind, clips) if not kind.alone else [self._follow(kind, clips[0])]

    def _listen(self, kind: _Kind, clips: list[Any]) -> list[_Heard]:
        tokens = self._model.generate(self._features(clips, "max_length"), **self._asked(kind))
        texts = self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [_Heard(text.strip(), kind.language or "", []) for text in texts]

    def _follow(self, kind: _Kind, samples: Any) -> _Heard:
        """Window by window: each begins where the last segment of the one before ended."""
        features = self._features([samples], "longest")
        language = kind.language
        if language is None and self._names:
            start = self._features([samples[: self._extract.n_samples]], "max_length")
            (token,) = self._model.detect_language(start).tolist()
            language = self._tokenizer.convert_ids_to_tokens(token).strip("<|>")
        found = self._model.generate(
            features,
            return_timestamps=True,
            return_segments=True,
            logprob_threshold=_UNSURE,
            no_speech_threshold=_SILENT,
            **self._asked(kind._replace(language=language)),
        )["segments"][0]
        length = len(samples) / _RATE
        segments = []
        for one in found:
            tokens = one["tokens"].tolist()
            text = self._tokenizer.decode(tokens, skip_special_tokens=True)
            start, end = (round(min(float(one[key]), length), 2) for key in ("start", "end"))
            if text.strip():
                segments.append(_Segment(start, end, text, tokens))
        text = "".join(segment.text for segment in segments).strip()
        return _Heard(text, self._names.get(language or "", "english"), segments)

    def _features(self, clips: list[Any], padding: str) -> Any:
        import numpy as np

        clips = [np.pad(clip, (0, max(0, _SHORTEST - len(clip)))) for clip in clips]
        found = self._extract(clips, sampling_rate=_RATE, return_tensors="pt", padding=padding, truncation=False)
        return found.input_features.to(self._model.device, self._model.dtype)

    def _asked(self, kind: _Kind) -> dict[str, Any]:
        """What `generate` takes."""
        asked: dict[str, Any] = {"compression_ratio_threshold": _REPEATS, "temperature": _TEMPERATURES}
        if kind.temperature:
            asked = {"temperature": kind.temperature, "do_sample": True}
        if kind.prompt:
            try:
                asked["prompt_ids"] = self._tokenizer.get_prompt_ids(kind.prompt, return_tensors="pt")
            except ValueError as error:
                raise RequestError(f"prompt: {error}", param="prompt") from None
            asked["prompt_ids"] = asked["prompt_ids"][1 - self._model.config.max_target_positions // 2 :]
        if self._names:
            asked |= {"language": kind.language, "task": "transcribe"}
        return asked


def _written(heard: _Heard, form: str, seconds: float) -> Media:
    """What was heard, in the form of `response_format`."""
    usage = {"type": "duration", "seconds": math.ceil(seconds)}
    if form == "text":
        return Media(f"{heard.text}\n".encode(), "text/plain; charset=utf-8")
    if form == "json":
        return Media(orjson.dumps({"text": heard.text, "usage": usage}), JSON)
    if form == "verbose_json":
        segments = [{"id": number, **segment._asdict()} for number, segment in enumerate(heard.segments)]
        told = {"task": "transcribe", "language": heard.language, "duration": round(seconds, 2), "text": heard.text}
        return Media(orjson.dumps({**told, "segments": segments, "usage": usage}), JSON)
    mark = "," if form == "srt" else "."
    lines = [] if form == "srt" else ["WEBVTT", ""]
    for number, segment in enumerate(heard.segments, 1):
        lines += [str(number)] if form == "srt" else []
        lines += [f"{_clock(segment.start, mark)} --> {_clock(segment.end, mark)}"]
        lines += [segment.text.strip().replace("-->", "->"), ""]  # an arrow would be taken for times
    return Media("\n".join(lines).encode(), "application/x-subrip" if form == "srt" else "text/vtt")


def _clock(seconds: float, mark: str) -> str:
    """Hours, minutes, seconds and milliseconds."""
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{mark}{thousandths:03}"


def load(spec: ModelSpec, options: Options, device: str) -> WhisperModel:
    """Read a Whisper model's folder."""
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer

    sounds.require()
    folder = Path(spec.model_path)
    with loading.reasons():
        kind = orjson.loads((folder / "config.json").read_bytes()).get("model_type")
        if kind != "whisper":
            raise ModelError(
                f"the model in {folder} is of the kind {kind}", cure="This engine writes speech down with Whisper."
            )
        extract: Any = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
        tokenizer = WhisperTokenizer.from_pretrained(folder, local_files_only=True)
    model = loading.weights(WhisperForConditionalGeneration, folder, options, device)
    return WhisperModel(model, extract, tokenizer, options)
