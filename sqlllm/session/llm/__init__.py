"""run ... as LLM: the life of a model. One file per action."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Run
from sqlllm.errors import OptionError, suggest

from .. import options as checks
from ..registry import module
from . import manage, runs
from .convert import check as check_convert
from .convert import convert
from .evaluate import check as check_evaluate
from .evaluate import evaluate
from .finetune import check as check_finetune
from .finetune import finetune
from .infer import check as check_infer
from .infer import infer, rollback, swap

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
    "rollback": rollback,
    "status": manage.status,
    "swap": swap,
    "undeploy": manage.undeploy,
}
_CHECKS: dict[str, Callable[[Run, dict[str, str]], None]] = {
    "convert": check_convert,
    "evaluate": check_evaluate,
    "finetune": check_finetune,
    "infer": lambda _, options: check_infer(options),
    "merge": check_convert,
    "swap": lambda _, options: check_infer(options),
}
_KNOWN = {
    "cancel": ("name", "udfName"),
    "list": (),
    "logs": ("name", "udfName", "lines"),
    "resume": ("name", "udfName", "detached"),
    "rollback": ("udfName",),
    "status": ("name", "udfName"),
    "undeploy": ("udfName",),
}
FREE = frozenset({
    "adapterNameOrPath", "checkpointDir", "evalTable", "inputTable", "localDataDir", "localModelDir", "localPathPrefix",
    "model_dir", "modelNameOrPath", "name", "outputTable", "run", "savePath", "udfName",
})  # fmt: skip
"""Options that may be any text: what the others say is checked whatever these are."""
_DEFAULT = "finetune"  # as in Byzer-LLM


@module("LLM")
def llm(session: Session, run: Run) -> Result:
    options = run.options.resolve(session.variables)
    return ACTIONS[check(run, options)](session, run, options)


def check(run: Run, options: dict[str, str]) -> str:
    """The action that `options` ask for; OptionError for an unknown action, or for options that it cannot take."""
    action = options.get("action", _DEFAULT)
    if action not in ACTIONS:
        cure = suggest(action, list(ACTIONS), what="actions")
        raise OptionError(f"unknown action {action}", cure=cure, place=run.options["action"].value_place)
    if action in _CHECKS:
        _CHECKS[action](run, options)
    else:
        # What a resumed run may change is known with its kind.
        own = [key for key in options if action == "resume" and key.startswith(("sft.", "dpo.", "sfft."))]
        checks.check(options, ("action", *_KNOWN[action], *own))
    return action
