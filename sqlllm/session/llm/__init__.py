"""run ... as LLM: the life of a model. One file per action."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Run
from sqlllm.errors import OptionError, suggest

from ..registry import module
from . import manage, runs
from .convert import convert
from .evaluate import evaluate
from .finetune import finetune
from .infer import infer

if TYPE_CHECKING:
    from ..session import Session
    from ..tables import Result

Action = Callable[["Session", Run, dict[str, str]], "Result"]

ACTIONS: dict[str, Action] = {
    "cancel": runs.cancel,
    "convert": convert,
    "evaluate": evaluate,
    "finetune": finetune,
    "infer": infer,
    "list": manage.list_,
    "logs": manage.logs,
    "merge": convert,
    "resume": runs.resume,
    "status": manage.status,
    "undeploy": manage.undeploy,
}
_DEFAULT = "finetune"  # as in Byzer-LLM


@module("LLM")
def llm(session: Session, run: Run) -> Result:
    options = run.options.resolve(session.variables)
    action = options.get("action", _DEFAULT)
    if action not in ACTIONS:
        known = list(ACTIONS)
        raise OptionError(
            f"unknown action {action}",
            cure=suggest(action, known, what="actions"),
            place=run.options["action"].value_place,
        )
    return ACTIONS[action](session, run, options)
