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
from .infer import check as check_infer
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
    return ACTIONS[check(run, options)](session, run, options)


def check(run: Run, options: dict[str, str]) -> str:
    """The action that `options` ask for; OptionError for one that is not known, or for what `infer` does not know."""
    action = options.get("action", _DEFAULT)
    if action not in ACTIONS:
        cure = suggest(action, list(ACTIONS), what="actions")
        raise OptionError(f"unknown action {action}", cure=cure, place=run.options["action"].value_place)
    if action == "infer":
        check_infer(options)
    return action
