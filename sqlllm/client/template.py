"""Templates of messages: by text, by the name of a file, with variables that other objects provide."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sqlllm.errors import OptionError, suggest

from .rendering import render

_BUILT_IN = Path(__file__).with_name("templates")


class Provider(Protocol):
    """What a template takes variables from."""

    @property
    def provider_dict(self) -> dict[str, Any]: ...


class Template:
    """A text with `{{ variables }}`: `Template(text="...")`, or `Template("NAME")` for the file `NAME.md`.

    Files are looked for in `folder` (the working folder's `templates` if none is given), then among those of this
    package. Variables come from what is bound to it, then from `format`, which wins.
    """

    def __init__(
        self,
        template_id: str | None = None,
        text: str | None = None,
        *,
        template_text: str | None = None,
        folder: str | Path | None = None,
    ) -> None:
        given = text if text is not None else template_text
        if (given is None) == (template_id is None):
            raise OptionError("a template has a text or a name", cure='Write Template(text="...") or Template("NAME").')
        self.template_id = template_id
        self.text = _read(template_id, Path(folder or "templates")) if template_id is not None else str(given)
        self._providers: list[Provider] = []

    def bind(self, provider: Provider) -> None:
        """Take variables from an object from now on."""
        if all(one is not provider for one in self._providers):
            self._providers.append(provider)

    @property
    def consumer_dict(self) -> dict[str, Any]:
        """The variables that bound objects provide now."""
        return {name: value for one in self._providers for name, value in one.provider_dict.items()}

    def format(self, input_vars: Mapping[str, Any] | None = None, **more: Any) -> str:
        """The text with its variables. Raises: OptionError if one is missing."""
        name = f"template {self.template_id}" if self.template_id else "the template"
        return render(self.text, {**self.consumer_dict, **(input_vars or {}), **more}, name)

    def __repr__(self) -> str:
        return f"Template(text={self.text!r})"


def _read(name: str, folder: Path) -> str:
    for place in (folder, _BUILT_IN):
        for file in (place / name, place / f"{name}.md", place / f"{name}.txt", place / name / "main.md"):
            if file.is_file():
                return file.read_text(encoding="utf-8")
    known = [file.stem for place in (folder, _BUILT_IN) if place.is_dir() for file in place.iterdir()]
    raise OptionError(f"there is no template {name}", cure=suggest(name, known, what="templates"))
