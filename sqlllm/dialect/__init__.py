"""Text to statements: `parse(text).statements`. Pure Python, neither Spark nor Ray."""

from __future__ import annotations

from .branches import Condition, Definition, Expression, typed
from .format import format_script
from .macros import expand, render
from .parser import Script, parse
from .sql import SqlText
from .statements import (
    Branch,
    Cell,
    Connect,
    Explain,
    If,
    Include,
    Load,
    Macro,
    Option,
    Options,
    Register,
    Run,
    Save,
    Select,
    Set,
    Sql,
    Statement,
    Unregister,
)
from .text import Lookup, Reference, RenderedSql, Text
from .variables import Variables

__all__ = [
    "Branch",
    "Cell",
    "Condition",
    "Connect",
    "Definition",
    "Explain",
    "Expression",
    "If",
    "Include",
    "Load",
    "Lookup",
    "Macro",
    "Option",
    "Options",
    "Reference",
    "Register",
    "RenderedSql",
    "Run",
    "Save",
    "Script",
    "Select",
    "Set",
    "Sql",
    "SqlText",
    "Statement",
    "Text",
    "Unregister",
    "Variables",
    "expand",
    "format_script",
    "parse",
    "render",
    "typed",
]
