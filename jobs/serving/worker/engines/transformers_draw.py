"""Images of texts with diffusers: Stable Diffusion, SDXL, Flux and other folders with a model_index.json."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import time
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field

from sqlllm.errors import PackageError

from ...protocol import CONTEXT_LENGTH_EXCEEDED, RequestError
from ...spec import ModelSpec
from . import loading, pictures
from .requests import parse_fields
from .together import Lane

if TYPE_CHECKING:
    from .transformers import Options

_TOGETHER = 8  # images at most: one takes as much memory as many texts
_STEP, _LARGEST = 8, 2048  # pixels of a side


class ImageRequest(BaseModel):
    """The fields of a request for images; those of the last lines are diffusers'."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    prompt: str = Field(min_length=1)
    n: int = Field(1, ge=1, le=10)
    size: str = Field("auto", pattern=r"^(auto|\d+x\d+)$", description="WIDTHxHEIGHT; auto: the model's own")
    response_format: Literal["b64_json"] = "b64_json"
    quality: Literal["auto", "standard"] = "auto"
    seed: int | None = Field(None, description="of the first image, the next has the next; none or -1: any")
    width: int | None = None
    height: int | None = None
    negative_prompt: str | None = None
    num_inference_steps: int | None = Field(None, ge=1, le=200)
    guidance_scale: float | None = Field(None, ge=0, le=50)

    def asked(self) -> dict[str, Any]:
        """What the pipeline takes besides prompts and seeds; RequestError for a size that it cannot have."""
        width, height = (self.width, self.height) if self.size == "auto" else map(int, self.size.split("x"))
        for side in (width, height):
            if side is not None and (side % _STEP or not _STEP <= side <= _LARGEST):
                raise RequestError(
                    f"a side has {_STEP} to {_LARGEST} pixels, a multiple of {_STEP}; not {side}", param="size"
                )
        names = ("negative_prompt", "num_inference_steps", "guidance_scale")
        asked = {"width": width, "height": height, **{name: getattr(self, name) for name in names}}
        return {name: value for name, value in asked.items() if value is not None}


class _One(NamedTuple):
    prompt: str
    seed: int


class DrawingModel:
    """A pipeline of diffusers behind `/v1/images/generations`."""

    seeded = True  # each image has a seed of its own, whatever it is drawn with

    def __init__(self, pipeline: Any, most: int) -> None:
        self._pipeline = pipeline
        self._known = inspect.signature(pipeline.__call__).parameters
        names = ("tokenizer", "tokenizer_2", "tokenizer_3")
        tokenizers = [found for name in names if (found := getattr(pipeline, name, None)) is not None]
        self._tokenizer = max(tokenizers, key=lambda tokenizer: tokenizer.model_max_length, default=None)
        self._lane = Lane(self._run, min(most, _TOGETHER))

    async def images(self, request: dict[str, Any]) -> bytes:
        """Images of `prompt`."""
        typed = parse_fields(request, ImageRequest)
        asked = typed.asked()
        if unknown := min(asked.keys() - self._known, default=None):
            raise RequestError(f"{type(self._pipeline).__name__} has no {unknown}", param=unknown)
        self._check(typed.prompt)
        kind = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
        first = secrets.randbits(31) if typed.seed is None or typed.seed < 0 else typed.seed
        drawn = (self._lane.do(kind, _One(typed.prompt, first + place)) for place in range(typed.n))
        data = [{"b64_json": b64encode(image).decode()} for image in await asyncio.gather(*drawn)]
        return orjson.dumps({"created": int(time.time()), "data": data})

    async def check_health(self) -> None:
        """Nothing of it can die alone."""

    def _check(self, prompt: str) -> None:
        """Refuse what the pipeline would cut."""
        if self._tokenizer is None:
            return
        most, tokens = self._tokenizer.model_max_length, len(self._tokenizer(prompt, verbose=False)["input_ids"])
        if tokens > most:
            said = f"the model reads prompts of up to {most} tokens; this one has {tokens}"
            raise RequestError(said, param="prompt", code=CONTEXT_LENGTH_EXCEEDED)

    def _run(self, kind: bytes, images: list[_One]) -> list[bytes | RequestError]:
        import torch

        asked = orjson.loads(kind)
        if "negative_prompt" in asked:
            asked["negative_prompt"] = [asked["negative_prompt"]] * len(images)
        device = self._pipeline.device.type
        generators = [torch.Generator(device).manual_seed(image.seed) for image in images]
        try:
            drawn = self._pipeline(prompt=[image.prompt for image in images], generator=generators, **asked)
        except ValueError as error:  # of what is asked
            raise RequestError(f"the pipeline refuses it: {error}") from None
        refused = getattr(drawn, "nsfw_content_detected", None) or [False] * len(images)
        return [_refused() if bad else _png(image) for image, bad in zip(drawn.images, refused, strict=True)]


def _refused() -> RequestError:
    said = "the model's own checker refuses the image; try another prompt or seed"
    return RequestError(said, param="prompt", code="content_policy_violation")


def _png(image: Any) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def load(spec: ModelSpec, options: Options, device: str) -> DrawingModel:
    """Read a pipeline's folder; without `dtype` in half precision on a GPU."""
    import torch

    pictures.require()
    try:
        from diffusers import AutoPipelineForText2Image
    except ImportError as error:
        raise PackageError.from_import_error(error, package="diffusers", extra="images") from error
    usual = "float16" if device == "cuda" else "float32"
    dtype = getattr(torch, usual if options.dtype == "auto" else options.dtype)
    with loading.reasons():
        auto: Any = AutoPipelineForText2Image
        pipeline = auto.from_pretrained(Path(spec.model_path), dtype=dtype, **loading.arguments(options)).to(device)
    pipeline.set_progress_bar_config(disable=True)
    return DrawingModel(pipeline, options.max_batch_size)
