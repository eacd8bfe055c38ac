"""Volcengine's text to speech."""

from __future__ import annotations

from base64 import b64decode
from typing import Any, Self
from uuid import uuid4

import orjson

from ....protocol import RequestError, well_formed
from ....spec import ModelSpec
from .. import Media
from .http import Api, Refused
from .model import RemoteModel
from .options import Options

_SOUNDS = {
    "mp3": ("mp3", "audio/mpeg"),
    "wav": ("wav", "audio/wav"),
    "pcm": ("pcm", "audio/pcm"),
    "opus": ("ogg_opus", "audio/ogg"),
}
_DONE = 3000
_AGAIN = frozenset({3003, 3005, 3030, 3031, 3032, 3040})  # too many at once, busy, too slow, broken


class VolcengineSpeech(RemoteModel):
    """Voices of an application; `saas.model` is its cluster."""

    @classmethod
    def load(cls, spec: ModelSpec, options: Options) -> Self:
        """The model; nothing is asked yet."""
        headers = {"authorization": f"Bearer;{options.api_key}"}  # with a semicolon, indeed
        return cls(spec.name, options, Api(options, headers, at_once=spec.concurrency, workers=spec.replicas))

    async def speech(self, request: dict[str, Any]) -> Media:
        """`input` in the voice `voice`, which is one of Volcengine's."""
        self.check_fields(request, ("model", "input", "voice", "response_format", "speed"))
        for field, what in (("input", "the text to say"), ("voice", "one of Volcengine's, as BV001_streaming")):
            if not isinstance(request.get(field), str) or not request[field]:
                raise RequestError(f"{field} is missing: {what}", param=field)
        encoding, media_type = _SOUNDS[self.form(request, _SOUNDS, "mp3")]
        with well_formed():
            speed = float(request.get("speed") or 1)
        audio = {"voice_type": request["voice"], "encoding": encoding, "speed_ratio": speed}

        def body() -> dict[str, Any]:  # of each try: an identifier that is used again is refused
            return {
                "app": {"appid": self._options.app_id, "token": "see the header", "cluster": self._options.model},
                "user": {"uid": "sqlllm"},
                "audio": audio,
                "request": {"reqid": str(uuid4()), "text": request["input"], "operation": "query"},
            }

        with self._asked():
            content = await self._api.post(self._options.base_url, body, self._sound)
        return Media(content, media_type)

    def _sound(self, content: bytes) -> bytes:
        told = orjson.loads(content)
        if told["code"] == _DONE:
            return b64decode(told["data"])
        if told["code"] in _AGAIN:
            raise Refused(f"{told['code']} {told.get('message')}")
        raise self._api.refused(f"{told['code']} {told.get('message')}")
