"""action="infer": deploy a model and register its function."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Run
from sqlllm.errors import ModelError, OptionError, suggest
from sqlllm.jobs.serving import Autoscale, ModelSpec
from sqlllm.jobs.serving.worker.engines import get_engine, llama_cpp
from sqlllm.udfs.ai import FUNCTIONS as AI_FUNCTIONS
from sqlllm.udfs.functions import FUNCTIONS as LLM_FUNCTIONS
from sqlllm.udfs.transport import Endpoint

from .. import guard, system
from .. import options as checks
from ..tables import Result
from . import kinds, remote, setup

if TYPE_CHECKING:
    from sqlllm.jobs.serving import Deployment

    from ..session import Session

# Byzer-LLM's keys that have one meaning here: what they may say, and what to write instead of anything else.
_FIXED = {
    "action": (("infer", "swap"), ""),
    "modelTable": (("command", ""), "A model in a table is not supported: name its folder in localModelDir."),
    "model": (("command", ""), "A model in a table is not supported: name its folder in localModelDir."),
    "reconnect": (("false", "true"), "Write true or false."),
}
_UNUSED = ("localPathPrefix", "modelWaitServerReadyTimeout", "dataWaitServerReadyTimeout")
_KNOWN = (
    "udfName",
    "localModelDir",
    "pretrainedModelType",
    "inferBackend",
    "infer_backend",
    "gpt_url",
    "served_model_name",
    *setup.KEYS,
    *_FIXED,
    *_UNUSED,
    *(f"autoscale.{name}" for name in Autoscale.model_fields),
    "backend.*",
    "saas.*",
    f"{setup.PLACEMENT}*",
)
_FREE = ("backend.", "saas.", setup.PLACEMENT)  # what follows is the engine's, the provider's or the cluster's
_OPTIONS = {"name": "udfName", "model_path": "localModelDir"}  # ModelSpec's fields in SQL
_ORACLES = ("oracle/table", "oracle/function")  # values of pretrainedModelType that name an engine
BACKENDS = {"ray/vllm": "vllm", "ray/deepspeed": "deepspeed", "ray/llama_cpp": "llama_cpp"}  # Byzer-LLM's spellings
# Options of engines that name code, in a model's folder or in a module.
_CODE = frozenset(
    {"trust_remote_code", "tool_parser_plugin", "reasoning_parser_plugin", "io_processor_plugin", "logits_processors",
     "worker_cls", "worker_extension_cls", "scheduler_cls"}
)  # fmt: skip
_OFF = ("", "0", "false", "f", "n", "no", "off", "none", "null", "[]", "auto")  # `auto`: vLLM's own worker
# Options of engines that Byzer-LLM writes without `backend.`.
_BARE = {"quatization": "quantization", "quantization": "quantization", **{name: name for name in llama_cpp.NAMES}}


def infer(session: Session, run: Run, options: dict[str, str]) -> Result:
    """Deploy, wait until the model answers, register `udfName`; gives one row about the deployment."""
    _check_function(session, options.get("udfName", ""))
    names = (name.strip() for name in options.get("served_model_name", "").split(","))
    return _registered(session, run, deploy(session, options), tuple(filter(None, names)))


def swap(session: Session, run: Run, options: dict[str, str]) -> Result:
    """Put another revision in the place of a model: as `infer`, for a name that is there."""
    _check_there(session, run, options)
    return infer(session, run, options)


def rollback(session: Session, run: Run, options: dict[str, str]) -> Result:
    """Have the revision answer again that a model had before; gives one row about the deployment."""
    checks.require(options, ["udfName"], "rollback")
    _check_there(session, run, options)
    name = options["udfName"]
    known = session.models.find(name)
    try:
        deployed = session.serving.rollback(name, on_progress=session.observer.step)
    except ModelError as error:
        raise error.at(run.options["udfName"].value_place) from None
    return _registered(session, run, deployed, known.aliases if known else ())


def _check_there(session: Session, run: Run, options: dict[str, str]) -> None:
    """ModelError if no model of that name is deployed."""
    name, known = options.get("udfName", ""), [model.name for model in system.deployed(session)]
    if name not in known:
        cure = suggest(name, known, what="models") if known else 'None is deployed. Deploy one with action="infer".'
        place = run.options["udfName"].value_place if "udfName" in run.options else run.place
        raise ModelError(f"there is no model {name}", cure=cure).at(place)


def _registered(session: Session, run: Run, deployed: Deployment, aliases: tuple[str, ...]) -> Result:
    """One row about a deployment, whose function is there from now on."""
    settings = session.settings
    constrains = getattr(get_engine(deployed.backend), "constrains", True)
    endpoint = Endpoint(
        url=deployed.endpoint,
        model=deployed.name,
        api_key=settings.serving.api_key.get_secret_value() if settings.serving.api_key else "",
        certificate=session.serving.certificate,
        constrains=constrains,
    )
    session.models.add(deployed.name, endpoint, constrains=constrains, aliases=aliases, folder=deployed.model)
    return Result(session.table([dataclasses.asdict(deployed)], system.MODEL_SCHEMA), place=run.place)


def deploy(session: Session, options: dict[str, str]) -> Deployment:
    """Deploy what the options of a statement ask for, and wait until it answers; needs no Spark.

    With reconnect="true" the model must be deployed already: by this session, or on the cluster that it joins.
    """
    check(options)
    checks.require(options, ["udfName"], "infer")
    if options.get("reconnect", "false") == "true":
        return session.serving.find(options["udfName"])
    return session.serving.deploy(_spec(session, options), on_progress=session.observer.step)


def _spec(session: Session, options: dict[str, str]) -> ModelSpec:
    kind = options.get("pretrainedModelType", "")
    if kind.startswith(remote.KIND):
        return remote.spec(session, options)
    if found := next((key for key in options if key.startswith(("saas.", *remote.BARE))), None):
        cure = 'It is of a provider\'s model: pretrainedModelType="saas/openai", for example.'
        raise OptionError(f"{found} is not an option of a model that runs here", cure=cure, key=found)
    checks.require(options, ["backend.function" if kind == "oracle/function" else "localModelDir"], "infer")
    check_code(session, options)
    wanted = setup.requested(session, options)
    backend = wanted.backend
    if kind.startswith("oracle"):
        backend = "oracle"
    folder = str(Path(given).expanduser().absolute()) if (given := options.get("localModelDir")) else ""
    if backend == "oracle":
        _check_oracle(session, kind or _ORACLES[0], options)
    else:
        usual = kinds.engine(kind, folder)
        backend = backend or usual
    values = {
        "name": options["udfName"],
        "aliases": options.get("served_model_name"),
        "engine": BACKENDS.get(backend, backend) if backend else None,
        "model_path": folder,
        "replicas": wanted.workers,
        "gpus_per_worker": wanted.gpus,
        "cpus_per_worker": wanted.cpus,
        "concurrency": wanted.concurrency,
        "resources": wanted.custom,
        "load_balance": wanted.load_balance,
        "autoscale": {name: options[key] for name in Autoscale.model_fields if (key := f"autoscale.{name}") in options}
        or None,
        "engine_options": engine_options(options),
    }
    try:
        spec = ModelSpec.parse(**{key: value for key, value in values.items() if value is not None})
    except OptionError as error:
        error.key = _OPTIONS.get(error.key, error.key)
        raise
    if backend == "oracle" and not wanted.gpus:
        return spec
    return spec.model_copy(update={"gpus_per_worker": setup.resources(session, options).gpus})


def engine_options(options: dict[str, str]) -> dict[str, str]:
    """The options of the engine, each as `backend.NAME`; OptionError for an option in two spellings."""
    found: dict[str, str] = {}
    for key, value in options.items():
        bare = key.removeprefix("backend.")
        if key != bare or key in _BARE:
            name = f"backend.{_BARE.get(bare, bare)}"
            if name in found:
                raise OptionError(f"{key} is {name}, which is there already", cure="Leave one out.", key=key)
            found[name] = value
    return found


def check_code(session: Session, options: dict[str, str]) -> None:
    """ForbiddenError for an option that has the engine run Python code, unless that is allowed."""
    for key, value in options.items():
        name = key.removeprefix("backend.").replace("-", "_").lower()
        if name in _CODE and value.strip().lower() not in _OFF:
            guard.require(session, "python", f"{key} runs Python code that the model or the script brings")


def check(options: dict[str, str]) -> None:
    """OptionError for a key that is not known, or a value that would have no effect."""
    for key, value in options.items():
        if key in _FIXED and value not in _FIXED[key][0]:
            raise OptionError(f"{key}={value!r} is not supported", cure=_FIXED[key][1], key=key)
        if key not in _KNOWN and key not in _BARE and not key.startswith(_FREE):
            raise OptionError(f"unknown option {key}", cure=suggest(key, _KNOWN, what="options"), key=key)


def _check_function(session: Session, name: str) -> None:
    """OptionError for a name that SQL has a function of: selects would go on calling that one, or none of them."""
    ours = name.lower() in {*AI_FUNCTIONS, *LLM_FUNCTIONS}
    if ours or (name.isidentifier() and session.spark.sql(f"show system functions like '{name}'").count()):
        cure = f'Write another name: udfName="{name}_model", for example.'
        raise OptionError(f"{name} is a function of SQL already", cure=cure, key="udfName")


def _check_oracle(session: Session, kind: str, options: dict[str, str]) -> None:
    """ForbiddenError for a table elsewhere or for code, unless it is allowed."""
    if kind not in _ORACLES:
        cure = suggest(kind, _ORACLES, what="oracles")
        raise OptionError(f"unknown pretrainedModelType {kind}", cure=cure, key="pretrainedModelType")
    if "backend.function" in options:
        guard.require(session, "python", "an oracle's function is code")
    else:
        guard.check_path(session, options["localModelDir"], None)
