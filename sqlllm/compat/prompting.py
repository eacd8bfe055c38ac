"""Byzer-LLM's prompt functions: without a model a call gives the prompt; images and sounds as its types."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlllm.client import LLM, Image, Prompt, Sound
from sqlllm.errors import OptionError

from .models import generation, known


class ImagePath:
    """The path of an image, as a parameter of a prompt function."""

    def __init__(self, value: str) -> None:
        self.value = value


class AudioPath:
    """The path of a sound, as a parameter of a prompt function."""

    def __init__(self, value: str) -> None:
        self.value = value


class ImageText(str):
    """An image as its `data:` address, which is text in JSON and an image in a prompt."""

    @staticmethod
    def load_image_from_path(path: str, only_content: bool = False) -> ImageText:
        """The image in a file."""
        image = Image(path)
        return ImageText(image.base64 if only_content else image.address)

    @staticmethod
    def load_image_from_base64(data: str) -> ImageText:
        """The image in base64."""
        return ImageText(Image(data).address)


class ByzerPrompt(Prompt[Any, Any]):
    """A prompt function as Byzer-LLM has it."""

    def options(self, options: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """Parameters: `options({"llm_config": {"max_length": 10}})`, or by name."""
        given = {**(options or {}), **more}
        config = given.pop("llm_config", {})
        return super().options({**given, **generation(config)})

    def with_stop_suffix_list(self, suffixes: list[str]) -> Any:
        """End the answer before one of these texts."""
        return self.with_stop(*suffixes)

    def with_response_markers(self, markers: Any = None, **more: Any) -> Any:
        """Ask on until the answer is whole."""
        return super().with_response_markers(markers, **more)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Ask the model; a sound alone is transcribed, to JSON."""
        if self._llm is None:
            return self.prompt(*args, **kwargs)
        content = self._content(args, kwargs)
        if isinstance(content, list) and len(content) == 1 and isinstance(content[0], Sound):
            return transcribed(self._model(), content[0])
        return super().run(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)

    def _model(self) -> LLM:
        llm = self._llm
        if callable(llm) and not hasattr(llm, "chat_oai") and not isinstance(llm, LLM):
            llm = llm(self._instance) if self._instance is not ... else llm()
        if isinstance(llm, str):
            return known(llm)
        if hasattr(llm, "chat_oai"):
            return llm.model()  # type: ignore[no-any-return]
        if isinstance(llm, LLM):
            return llm
        raise OptionError(f"the prompt {self.__qualname__} has no model", cure="Call .with_llm(llm).run(...).")

    def _filled(self, variables: dict[str, Any], extra: Any) -> str | list[Any]:
        given = {name: _media(value) for name, value in {**variables, **(extra or {})}.items()}
        return super()._filled(given, {} if extra is None or isinstance(extra, Mapping) else extra)


def _media(value: Any) -> Any:
    if isinstance(value, ImagePath):
        return Image(value.value)
    if isinstance(value, AudioPath):
        return Sound(value.value)
    if isinstance(value, ImageText):
        return Image(str(value))
    if isinstance(value, list | tuple):
        return [_media(one) for one in value]
    return value


def transcribed(llm: LLM, sound: Sound) -> str:
    """The words in a sound, as JSON with the times of sentences and words."""
    told = llm.transcribe(sound, timestamp_granularities=["word", "segment"])
    return json.dumps(told.raw, ensure_ascii=False)


def prompt(llm: Any = None, render: str = "jinja2", **_: Any) -> Callable[[Callable[..., Any]], ByzerPrompt]:
    """`@byzerllm.prompt()`, `@byzerllm.prompt(llm)`, `@byzerllm.prompt(lambda self: self.llm, render="simple")`."""
    return lambda function: ByzerPrompt(function, llm, render=render)


__all__ = ["AudioPath", "ByzerPrompt", "ImagePath", "ImageText", "prompt", "transcribed"]
