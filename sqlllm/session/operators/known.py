"""The semantic operators that there are, in the order in which they look at a select."""

from __future__ import annotations

from .cut import Operator
from .join import Join

# Join comes before what takes an ai_filter of one table, which would leave one of two tables as it is written.
OPERATORS: tuple[Operator, ...] = (Join(),)
