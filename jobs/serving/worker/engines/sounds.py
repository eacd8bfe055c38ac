"""Sound files to samples and back, by libsndfile: no ffmpeg is needed."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from io import BytesIO
from typing import Any

import numpy as np

from sqlllm.errors import PackageError

from ...protocol import RequestError

# How OpenAI's `response_format` is written, and its media type. libsndfile has no AAC.
FORMATS: dict[str, tuple[dict[str, Any], str]] = {
    "mp3": ({"format": "MP3"}, "audio/mpeg"),
    "wav": ({"format": "WAV", "subtype": "PCM_16"}, "audio/wav"),
    "flac": ({"format": "FLAC", "subtype": "PCM_16"}, "audio/flac"),
    "opus": ({"format": "OGG", "subtype": "OPUS"}, "audio/ogg"),
    "pcm": ({"format": "RAW", "subtype": "PCM_16"}, "audio/pcm"),
}
_OPUS_RATE = 48_000  # Hz; it takes few others
_BLOCK = 2**16  # frames that are read at once


def require() -> None:
    """PackageError if the libraries are not there."""
    try:
        import soundfile  # noqa: F401
        import soxr  # noqa: F401
    except (ImportError, OSError) as error:
        missing = error if isinstance(error, ImportError) else ImportError(str(error), name="soundfile")
        raise PackageError.from_import_error(missing, package=missing.name or "soundfile", extra="audio") from error


def content(text: str, param: str) -> bytes:
    """The bytes of base64, in lines or not, with or without `data:...;base64,` before it."""
    data = text.partition(";base64,")[2] if text.startswith("data:") else text
    try:
        return b64decode("".join(data.split()), validate=True)
    except (NotBase64, ValueError):
        raise RequestError(f"{param} is not base64", param=param) from None


def decode(file: bytes, rate: int, seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Samples at `rate` Hz from -1 to 1, all channels as one; RequestError if it is not a sound, or too long."""
    import soundfile
    import soxr

    blocks, most = [], int(seconds * rate)
    try:
        with soundfile.SoundFile(BytesIO(file)) as sound:
            stream = soxr.ResampleStream(sound.samplerate, rate, 1, dtype="float32")
            read, left = 1, most + 1
            while read and left > 0:
                block = sound.read(_BLOCK, dtype="float32", always_2d=True).mean(1)
                read = len(block)
                blocks.append(stream.resample_chunk(block, last=not read))
                left -= len(blocks[-1])
    except (soundfile.LibsndfileError, ValueError, RuntimeError) as error:
        raise RequestError(
            f"file is not a sound that can be read ({getattr(error, 'error_string', error)});"
            " send WAV, FLAC, MP3, or OGG with Vorbis or Opus",
            param="file",
        ) from None
    samples: np.ndarray[Any, np.dtype[np.float32]] = np.concatenate(blocks)
    if len(samples) > most:
        raise RequestError(f"the sound is longer than {seconds:g} seconds; cut it into parts", param="file")
    if not len(samples):
        raise RequestError("file has no sound in it", param="file")
    return samples


def encode(samples: np.ndarray[Any, np.dtype[np.float32]], rate: int, form: str) -> bytes:
    """A sound file in one of `FORMATS`."""
    import soundfile
    import soxr

    if form == "opus":
        samples, rate = soxr.resample(samples, rate, _OPUS_RATE), _OPUS_RATE
    file = BytesIO()
    soundfile.write(file, np.clip(samples, -1, 1), rate, **FORMATS[form][0])
    return file.getvalue()
