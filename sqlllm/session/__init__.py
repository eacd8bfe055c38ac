"""Statements to effects, in order: over Spark for tables, over Ray for models.

with sqlllm.connect() as session:
    session.run("load json.`reviews` as t; select count(*) as n from t as counted;").rows()
"""

from __future__ import annotations

from .observer import Observer
from .session import Session, connect
from .tables import Result

__all__ = ["Observer", "Result", "Session", "connect"]
