"""Azure's speech service: text to speech, and speech to text for less than a minute of sound."""

from __future__ import annotations

from typing import Any, Self
from xml.sax.saxutils import escape, quoteattr

import orjson

from ....protocol import JSON, RequestError, well_formed
from ....spec import ModelSpec
from .. import Media, sounds
from .http import Api, Refused
from .model import RemoteModel
from .options import Options

_SOUNDS = {
    "mp3": ("audio-24khz-96kbitrate-mono-mp3", "audio/mpeg"),
    "wav": ("riff-24khz-16bit-mono-pcm", "audio/wav"),
    "pcm": ("raw-24khz-16bit-mono-pcm", "audio/pcm"),
    "opus": ("ogg-24khz-16bit-mono-opus", "audio/ogg"),
}
_HEARD = {b"RIFF": "audio/wav; codecs=audio/pcm; samplerate=16000", b"OggS": "audio/ogg; codecs=opus"}
_SILENCE = ("NoMatch", "InitialSilenceTimeout")


class AzureSpeech(RemoteModel):
    """A voice, and an ear."""

    @classmethod
    def load(cls, spec: ModelSpec, options: Options) -> Self:
        """The model; nothing is asked yet."""
        headers = {"ocp-apim-subscription-key": options.api_key, "user-agent": "sqlllm"}
        return cls(spec.name, options, Api(options, headers, at_once=spec.concurrency, workers=spec.replicas))

    def _url(self, kind: str, path: str) -> str:
        """A route of `tts` or `stt`: a host of the region, or a folder of a resource's own address."""
        if self._options.base_url:
            return f"{self._options.base_url}/{kind}/{path}"
        region = self._options.service_region
        domain = "azure.cn" if region.startswith("china") else "microsoft.com"
        return f"https://{region}.{kind}.speech.{domain}/{path}"

    async def speech(self, request: dict[str, Any]) -> Media:
        """`input`, a text or SSML, in the voice `voice`, or else `saas.model`."""
        self.check_fields(request, ("model", "input", "voice", "response_format", "speed"))
        wanted, media_type = _SOUNDS[self.form(request, _SOUNDS, "mp3")]
        headers = {"content-type": "application/ssml+xml", "x-microsoft-outputformat": wanted}
        body = _ssml(request, self._options.model).encode()
        with self._asked():
            content = await self._api.post(self._url("tts", "cognitiveservices/v1"), body, _sound, headers=headers)
        return Media(content, media_type)

    async def transcriptions(self, request: dict[str, Any]) -> Media:
        """What is said in a WAV file (16 kHz, 16 bit, one channel) or an Ogg file (Opus) of less than a minute."""
        self.check_fields(request, ("model", "file", "language", "response_format"))
        sound = sounds.content(request["file"], "file")
        if sound[:4] not in _HEARD:
            raise RequestError(f"{self._options.provider} hears WAV (PCM, 16 kHz) and Ogg (Opus) files", param="file")
        language = request.get("language") or "en-US"
        if "-" not in language:
            raise RequestError(f"language is {language}: write the country too, as in de-DE", param="language")
        form = self.form(request, ("json", "text"), "json")
        url = self._url("stt", "speech/recognition/conversation/cognitiveservices/v1")
        headers = {"content-type": _HEARD[sound[:4]], "accept": JSON}
        with self._asked():
            text = await self._api.post(url, sound, _heard, headers=headers, params={"language": language})
        return Media(text.encode(), "text/plain") if form == "text" else Media(orjson.dumps({"text": text}), JSON)


def _sound(content: bytes) -> bytes:
    if not content:
        raise Refused("it is not a sound")
    return content


def _heard(content: bytes) -> str:
    told = orjson.loads(content)
    if told["RecognitionStatus"] in _SILENCE:
        return ""
    if told["RecognitionStatus"] != "Success":
        raise Refused(f"RecognitionStatus {told['RecognitionStatus']}")
    return str(told["DisplayText"])


@well_formed()
def _ssml(request: dict[str, Any], default: str) -> str:
    text = request.get("input")
    if not isinstance(text, str) or not text:
        raise RequestError("input is missing: the text to say", param="input")
    if text.lstrip().startswith("<speak"):
        return text
    voice, speed = request.get("voice") or default, float(request.get("speed") or 1)
    said = escape(text) if speed == 1 else f"<prosody rate='{100 * (speed - 1):+.0f}%'>{escape(text)}</prosody>"
    language = "-".join(voice.split("-")[:2])
    return (
        f"<speak version='1.0' xmlns='http://www.w3.org/2001/10/synthesis' xml:lang={quoteattr(language)}>"
        f"<voice name={quoteattr(voice)}>{said}</voice></speak>"
    )
