"""Text with variables in it: Jinja2, each value inserted once and as it is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlllm.errors import OptionError

if TYPE_CHECKING:
    from jinja2 import Template as Compiled


def render(text: str, variables: Mapping[str, Any], name: str = "the template") -> str:
    """`text` with its `{{ variables }}` filled in.

    Raises: OptionError for a template that is not valid, or a variable that is not given; it names the line.
    """
    if "{" not in text:
        return text
    from jinja2 import TemplateError, UndefinedError

    compiled = _compiled(text, name)
    try:
        return compiled.render(variables)
    except UndefinedError as error:
        raise OptionError(
            f"{name}: {error.message}", cure=f"Variables that are given: {', '.join(sorted(variables)) or 'none'}."
        ) from None
    except TemplateError as error:
        raise OptionError(f"{name}: {error.message}", cure="Mend the template.") from None


def fill(text: str, variables: Mapping[str, Any]) -> str:
    """`text` with each `{name}` of a variable replaced; all other braces stay."""
    import re

    if not variables:
        return text
    names = "|".join(sorted(map(re.escape, variables), key=len, reverse=True))
    return re.sub(rf"\{{({names})\}}", lambda match: str(variables[match[1]]), text)


@lru_cache(maxsize=512)
def _compiled(text: str, name: str) -> Compiled:
    from jinja2 import StrictUndefined, TemplateSyntaxError
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    try:
        return environment.from_string(text)
    except TemplateSyntaxError as error:
        line = text.splitlines()[error.lineno - 1].strip() if error.lineno <= len(text.splitlines()) else ""
        raise OptionError(
            f"{name}, line {error.lineno}: {error.message}: {line}",
            cure="Write a brace that is text as in {{ '{{' }}, or put the text between {% raw %} and {% endraw %}.",
        ) from None
