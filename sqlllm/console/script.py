"""One piece of a longer talk: a notebook's cell, a shell's statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect import Run, parse
from sqlllm.errors import ScriptErrors

if TYPE_CHECKING:
    from sqlllm.dialect import Statement
    from sqlllm.session import Result, Session


def run_script(session: Session, text: str, name: str) -> Result | None:
    """Run `text` and return its last table. What it sets holds for the next piece, too: all are one script."""
    script = parse(text, name)
    if script.errors:
        raise ScriptErrors.of(script.errors)
    if not session.spark_runs and any(needs_ray(one) for one in script.statements):
        session.warm_up()
    return session.run_all(script.statements)


def needs_ray(statement: Statement) -> bool:
    """Whether a statement trains or deploys here; a run in the background starts a Ray of its own."""
    if not isinstance(statement, Run) or statement.module.raw.upper() != "LLM":
        return False
    kind = statement.options["pretrainedModelType"].value.raw if "pretrainedModelType" in statement.options else ""
    if kind.startswith(("saas/", "oracle/")):  # they are served without Ray, unless one is there
        return False
    return "detached" not in statement.options or statement.options["detached"].value.raw.lower() != "true"
