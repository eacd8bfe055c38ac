"""Objects that are called and leave variables for templates: the last input, the last output."""

from __future__ import annotations

from typing import Any

from .template import Template


class Runnable:
    """A call is `call`. What it leaves in `_last_input` or `_last_output`, templates that are bound to it see."""

    provides: tuple[str, ...] = ("last_input", "last_output")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.call(*args, **kwargs)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """What a call does."""
        raise NotImplementedError(f"{type(self).__name__} has no method call")

    def bind_consumers(self, *templates: Template) -> None:
        """Give templates the variables of this object, as they are when a template is filled in."""
        for template in templates:
            template.bind(self)

    @property
    def provider_dict(self) -> dict[str, Any]:
        """The variables that there are now, by name."""
        return {name: vars(self)[f"_{name}"] for name in self.provides if f"_{name}" in vars(self)}
