"""What Byzer-LLM's client asks of a cluster: models that are deployed, training, SQL, by a session of this package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlllm.client import LLM
from sqlllm.errors import ModelError, PackageError


def deployment(name: str, path: str, kind: str, settings: Mapping[str, str], params: Mapping[str, Any]) -> str:
    """The statement that deploys a model."""
    options = {"action": "infer", "udfName": name, **({"localModelDir": path} if path else {})}
    if kind:
        options["pretrainedModelType"] = kind
    options |= settings
    options |= {key: _written(value) for key, value in params.items()}
    return _statement("command", options)


def training(action: str, name: str, data: str, model: str, options: Mapping[str, Any]) -> str:
    """The statements that load rows and train a model on them."""
    form = "text" if action == "pretrain" else "json"
    given = {"action": action, "name": name, "localModelDir": model}
    given |= {key: _written(value) for key, value in options.items() if value is not None}
    return f"load {form}.`{_quoted(data)}` as rows_to_learn;\n{_statement('rows_to_learn', given)}"


def merging(name: str, model: str, adapter: str, target: str) -> str:
    """The statement that merges an adapter."""
    return _statement(
        "command",
        {"action": "convert", "pretrainedModelType": "lora/merge", "name": name, "modelNameOrPath": model,
         "adapterPath": adapter, "savePath": target},
    )  # fmt: skip


def deploy(name: str, path: str, kind: str, settings: Mapping[str, str], params: Mapping[str, Any]) -> None:
    """Deploy a model."""
    _run(deployment(name, path, kind, settings, params))


def undeploy(name: str, force: bool) -> None:
    """Remove a model."""
    del force  # what is not there is no error
    _session().serving.undeploy(name)


def train(action: str, name: str, data: str, model: str, options: Mapping[str, Any]) -> Any:
    """Train a model; the table of the statement."""
    return _run(training(action, name, data, model, options))


def merge(name: str, model: str, adapter: str, target: str) -> Any:
    """Merge an adapter into its model."""
    return _run(merging(name, model, adapter, target))


def chat_template(llm: LLM, messages: list[dict[str, Any]]) -> str:
    """A conversation as text, by the template in the model's folder.

    Raises: ModelError if the model has no folder on this machine.
    """
    path = ((llm.meta().get("spec") or {}).get("model_path")) or ""
    if not path:
        raise ModelError(f"{llm.model} has no folder with a chat template", cure="Send the conversation: llm.chat_oai.")
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise PackageError.from_import_error(error, package="transformers", extra="ray") from error
    tokenizer: Any = AutoTokenizer.from_pretrained(path)
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def apply_sql_func(sql: str, data: list[Any], owner: str, url: str, **more: Any) -> Any:
    """A select over rows, by `sqlllm engine`."""
    import httpx

    kind = "row" if data and isinstance(data[0], dict) else "string" if data and isinstance(data[0], str) else "vector"
    form = {"sql": sql, "data": json.dumps(data, ensure_ascii=False), "dataType": kind, "owner": owner, **more}
    try:
        answer = httpx.post(url, data=form, timeout=600)
    except httpx.TransportError as error:
        raise ModelError(f"{url} does not answer: {error}", cure="Start it: sqlllm engine --port 9003.") from None
    if answer.status_code != 200:
        raise ModelError(f"{url}: HTTP {answer.status_code}: {answer.text[:300]}")
    return answer.json()


_opened: list[Any] = []


def _session() -> Any:
    """One session for all calls of this process."""
    if not _opened:
        import sqlllm

        _opened.append(sqlllm.connect())
    return _opened[0]


def _run(text: str) -> Any:
    return _session().run(text)


def _statement(table: str, options: Mapping[str, str]) -> str:
    given = "\nand ".join(f"`{_quoted(key)}`='''{value}'''" for key, value in options.items())
    return f"run {table} as LLM.`` where\n{given};"


def _quoted(text: str) -> str:
    return text.replace("`", "``")


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
