"""Chat about images with transformers: Qwen-VL, LLaVA, Idefics and others, without torchvision."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from typing_extensions import override

from sqlllm.errors import ModelError

from ...protocol import UNSUPPORTED, RequestError, check_messages
from ...spec import ModelSpec
from . import loading, pictures
from .requests import FullRequest
from .tokens import PlainTokens
from .tool_calls import Tools
from .transformers_chat import Read, TransformersModel, ready

if TYPE_CHECKING:
    from .transformers import Options

_MOST = 32  # images of a conversation


class SeeingModel(TransformersModel):
    """A model that reads texts and images, and writes text."""

    _processor: Any
    _hosts: list[str]  # that images may be fetched from

    async def count_tokens(self, batch: list[list[dict[str, Any]]]) -> list[int]:
        """Tokens of each conversation, those of its images too; what cannot be read is guessed by its size."""

        async def count(messages: list[dict[str, Any]]) -> int:
            try:
                return len((await self._inputs(messages, {}))["input_ids"][0])
            except RequestError:
                return PlainTokens().count_chat(messages)

        return list(await asyncio.gather(*map(count, batch)))

    @override
    async def _read(self, request: FullRequest, batch: list[Any], given: Tools | None) -> list[Read | RequestError]:
        if given is not None:
            raise RequestError("a model that sees calls no tools on this engine", param="tools", code=UNSUPPORTED)

        async def read(messages: Any) -> Read | RequestError:
            try:
                inputs = dict(await self._inputs(check_messages(messages), request.chat_template_kwargs or {}))
            except RequestError as error:
                return error
            inputs.pop("attention_mask")
            (tokens,) = inputs.pop("input_ids").tolist()
            return tokens, inputs

        return list(await asyncio.gather(*map(read, batch)))

    async def _inputs(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> Any:
        """What the model takes: `input_ids`, `attention_mask`, and what its kind of images needs."""
        parts = [part for message in messages for part in _parts(message)]
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        if len(urls) > _MOST:
            raise RequestError(f"a conversation has {len(urls)} images; {_MOST} are the most", param="messages")
        found = iter(await asyncio.gather(*(pictures.load(url, self._hosts) for url in urls)))
        turns = [
            {
                "role": message["role"],
                "content": [
                    part if part["type"] == "text" else {"type": "image", "image": next(found)}
                    for part in _parts(message)
                ],
            }
            for message in messages
        ]
        return await asyncio.to_thread(self._prepare, turns, options)

    def _prepare(self, turns: list[dict[str, Any]], options: dict[str, Any]) -> Any:
        from jinja2 import TemplateError

        try:
            return self._processor.apply_chat_template(
                turns, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt", **options
            )
        except StopIteration:  # which no thread can raise to who waits
            said = "a text has the mark that stands for an image; leave it out"
            raise RequestError(said, param="messages") from None
        except (TemplateError, TypeError, ValueError, KeyError, IndexError) as error:
            raise RequestError(f"the model cannot read the messages: {error}", param="messages") from None


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Texts and images of a message; RequestError if it has anything else."""
    content = message.get("content")
    parts: list[Any] = [{"type": "text", "text": content or ""}] if not isinstance(content, list) else content
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "image_url" and isinstance(part.get(kind), str):  # as some clients write it
            part[kind] = {"url": part[kind]}
        if kind == "text" and isinstance(part.get("text"), str):
            continue
        if kind != "image_url" or not isinstance(part.get(kind), dict) or not isinstance(part[kind].get("url"), str):
            told = '{"type": "text", "text": ...} or {"type": "image_url", "image_url": {"url": ...}}'
            raise RequestError(f"a part of a message is {told}, not of type {kind}", param="messages")
    return parts


def load(spec: ModelSpec, options: Options, device: str) -> SeeingModel:
    """Read a folder with a model, its processor and its tokenizer."""
    from transformers import AutoModelForImageTextToText

    pictures.require()
    folder = Path(spec.model_path)
    with loading.reasons():
        processor = _processor(folder, options)
    model = loading.weights(AutoModelForImageTextToText, folder, options, device)
    processor.chat_template = processor.chat_template or processor.tokenizer.chat_template
    if processor.chat_template is None:
        raise ModelError(f"{folder} has no chat template", cure="A model that sees needs chat_template.jinja.")
    found: SeeingModel = ready(SeeingModel, spec, options, model, processor.tokenizer)
    found._processor, found._hosts = processor, options.allowed_media_domains
    return found


def _processor(folder: Path, options: Options) -> Any:
    """The folder's processor, without its part for videos: that asks for torchvision."""
    import transformers
    from transformers.models.auto import processing_auto

    known: Any = vars(processing_auto)["PROCESSOR_MAPPING_NAMES"]
    kind = orjson.loads((folder / "config.json").read_bytes()).get("model_type")
    if (name := known.get(kind)) is None:
        auto: Any = transformers.AutoProcessor
        return auto.from_pretrained(folder, **loading.arguments(options))
    base = getattr(transformers, name)

    def attributes(_: type) -> list[str]:
        return [attribute for attribute in base.get_attributes() if "video" not in attribute]

    images_only: Any = type(name, (base,), {"get_attributes": classmethod(attributes)})
    return images_only.from_pretrained(folder, **loading.arguments(options))
