"""The semantic operators that there are, in the order in which they look at a select."""

from __future__ import annotations

from .aggregate import Aggregate
from .approximate import Approximate
from .cascade import Filter
from .cut import Operator
from .join import Join
from .rank import Rank
from .surely import Classify, Score

# Join comes before what takes an ai_filter of one table, which would leave one of two tables as it is written.
# Functions over several rows come after what filters their rows.
OPERATORS: tuple[Operator, ...] = (Join(), Filter(), Classify(), Score(), Rank(), Aggregate(), Approximate())
