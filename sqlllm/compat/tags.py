"""Text helpers of Byzer-LLM: code in fences, content of tags, functions made asynchronous."""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+#.-]*)[^\n]*\n(.*?)^[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)
_TAG = re.compile(r"<(_\w+_)>(.*?)</\1>", re.DOTALL)


def extract_code(text: str) -> list[tuple[str, str]]:
    """The language and the code of each fenced block, without the last line break."""
    return [(language, code.removesuffix("\n")) for language, code in _FENCE.findall(text)]


@dataclass
class Tag:
    """What stands between `<_name_>` and `</_name_>`; `content` of the root are the tags."""

    start_tag: str
    content: Any
    end_tag: str
    parent: Tag | None = field(default=None, repr=False)


class TagExtractor:
    """The tags `<_name_>...</_name_>` of a text, in their order; `<_image_>` may not hold another of its name."""

    def __init__(self, text: str) -> None:
        self.text = text

    def extract(self) -> Tag:
        """A root whose `content` are the tags."""
        root = Tag("<_>", [], "</_>")
        for name, content in _TAG.findall(self.text):
            root.content.append(Tag(f"<{name}>", content, f"</{name}>", root))
        return root


def asyncfy_with_semaphore(
    func: Callable[..., Any], semaphore: Any = None, timeout: float | None = None
) -> Callable[..., Awaitable[Any]]:
    """Make a function asynchronous: it runs in a thread, a coroutine in the loop.

    `semaphore` bounds the calls at once; after `timeout` seconds a TimeoutError is raised.
    """

    @functools.wraps(func)
    async def call(*args: Any, **kwargs: Any) -> Any:
        async with asyncio.timeout(timeout):
            if semaphore is None:
                return await run(*args, **kwargs)
            async with semaphore:
                return await run(*args, **kwargs)

    async def run(*args: Any, **kwargs: Any) -> Any:
        if inspect.iscoroutinefunction(func):
            return await func(*args, **kwargs)
        return await asyncio.to_thread(func, *args, **kwargs)

    return call


def asyncfy(func: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Make a function asynchronous without a thread: it runs in the loop, which waits for it."""
    if inspect.iscoroutinefunction(func):
        return func

    @functools.wraps(func)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return call
