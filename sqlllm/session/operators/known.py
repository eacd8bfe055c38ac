"""The semantic operators that there are, in the order in which they look at a select."""

from __future__ import annotations

from .cut import Operator
from .join import Join

OPERATORS: tuple[Operator, ...] = (Join(),)
