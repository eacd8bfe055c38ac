"""The semantic operators that there are, in the order in which they look at a select."""

from __future__ import annotations

from .cut import Operator

OPERATORS: tuple[Operator, ...] = ()
