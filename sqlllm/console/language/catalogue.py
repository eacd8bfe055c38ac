"""What a script can say, each with one line about it: from the registries, the specs and the manual."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from sqlllm.dialect import builtins, statements
from sqlllm.dialect.parser import SAVE_MODES, STATEMENTS
from sqlllm.dialect.tokens import CELL_KINDS
from sqlllm.dialect.variables import SCOPES, VISIBILITIES
from sqlllm.session import known_options, registry
from sqlllm.session.called import signature
from sqlllm.session.commands.absent import ABSENT
from sqlllm.session.formats import FORMATS
from sqlllm.session.llm import ACTIONS
from sqlllm.settings import Settings
from sqlllm.udfs.ai import FUNCTIONS as AI_FUNCTIONS
from sqlllm.udfs.functions import FUNCTIONS

from . import manual

_TYPES = {"bool": "true or false", "int": "a number", "float": "a number"}
_OF_MODEL = {"udfName": "name", "localModelDir": "model_path", "inferBackend": "engine"}
_PAGES = {
    "finetune": ("training/index", "training/pretraining"), "evaluate": ("training/evaluate",),
    "convert": ("training/convert",), "merge": ("training/convert",), "infer": (),
}  # fmt: skip
Words = Mapping[str, str]  # a name and one line about it

_SHAPES = {
    "load": statements.Load, "save": statements.Save, "select": statements.Select, "set": statements.Set,
    "connect": statements.Connect, "run": statements.Run, "train": statements.Run, "predict": statements.Run,
    "register": statements.Register, "unregister": statements.Unregister, "include": statements.Include,
}  # fmt: skip
SQL_WORDS = (
    "and", "as", "asc", "between", "by", "case", "cast", "cross", "desc", "distinct", "else", "end", "except", "exists",
    "false", "from", "full", "group", "having", "in", "inner", "intersect", "is", "join", "lateral", "left", "like",
    "limit", "not", "null", "on", "or", "order", "outer", "over", "partition", "qualify", "rlike", "right", "select",
    "semi", "then", "true", "union", "using", "values", "view", "when", "where", "window", "with",
)  # fmt: skip


@cache
def first_words() -> Words:
    """Words that begin a statement, and the statement's shape."""
    known = {word: line_of(_SHAPES.get(word)) or "Spark's own statement" for word in STATEMENTS if word.isalpha()}
    return {**known, "with": "a select with named parts", "!": "a command or a macro"}


@cache
def commands() -> Words:
    """The built-in `!commands` that do something here."""
    lines: dict[str, str] = {}
    for written, text in manual.rows("sql/commands", "command").items():
        if name := re.match(r"!(\w+)", written):
            lines.setdefault(name[1].lower(), f"{written} {text}")
    return {name: lines.get(name.lower(), line_of(handler)) for name, handler in registry.commands().items()
            if name not in ABSENT}  # fmt: skip


@cache
def formats(head: str) -> Words:
    """What may follow `load`, `save ... as`, `include`, `register`."""
    if head == "include":
        return manual.rows("sql/include", "kind")
    if head in ("register", "unregister"):
        return {"Prompt": "a prompt as a function", "ScriptUDF": "a function of this session"}
    about = manual.rows("sql/load", "format")
    return {name: about.get(name, "") for name in FORMATS}


@cache
def modules() -> Words:
    """Modules of `run ... as`."""
    about = manual.rows("sql/run", "module")
    return {name: about.get(name, "") for name in registry.modules()}


@cache
def options(head: str, of: str, action: str = "") -> Words:
    """The options of a statement: `of` is its format or module, `action` what an LLM is to do."""
    if head == "set":
        return {"type": "text, sql, shell, conf or defaultParam", "mode": "runtime or compile",
                **{key: f"{text}" for key, text in manual.rows("sql/set", "option").items()}}  # fmt: skip
    if head in ("run", "train", "predict"):
        return _of_llm(action) if of.lower() == "llm" else _of_module(of)
    if head == "register" and of.lower() == "prompt":
        return manual.rows("sql/register", "option")
    if head == "register":
        return dict.fromkeys(("lang", "code", "dataType", "methodName", "udfType"), "")
    return _of_format(of.lower(), head == "save")


def _of_llm(action: str) -> Words:
    """The manual's words on an action's options; on all actions while none is written."""
    known = {"action": "what to do: " + ", ".join(ACTIONS)}
    for name in [action] if action in ACTIONS else ACTIONS:
        for page in _PAGES.get(name, ()):
            told = {**manual.rows(page, "option"), **manual.rows(page, "key")}
            known |= {key: text for key, text in told.items() if re.fullmatch(r"[\w.]+", key)}
        if name == "finetune":
            known |= _more_keys(known)
        elif name == "infer":
            from sqlllm.jobs.serving import ModelSpec

            fields = ModelSpec.model_fields
            known |= {key: fields[field].description or "" for key, field in _OF_MODEL.items() if key not in known}
        elif name not in _PAGES:
            known.setdefault("udfName", "name of the model or the run")
            known |= {"lines": "how many, 200"} if name == "logs" else {}
    return known


def _more_keys(told: Words) -> Words:
    """The `sft.<type>.<key>` that the manual has no room for, with their owners."""
    from sqlllm.jobs.training import keys

    names = {key.rpartition(".")[2] for key in told}
    return {
        f"sft.{types[0]}.{name}": f"a field of {owner}"
        for name, (owner, types) in sorted(keys.owners().items())
        if name not in names
    }


def _of_module(name: str) -> Words:
    """What a module has declared, else the keys that its row of the manual spells."""
    row = next((text for key, text in modules().items() if key.lower() == name.lower()), "")
    return registry.options_of(name) or dict.fromkeys(re.findall(r"`(\w+)(?:=[^`]*)?`", row), row)


@cache
def _of_format(name: str, write: bool) -> Words:
    """The options of a format, with their types where PySpark's source has them: importing it takes a second."""
    found = dict.fromkeys(re.findall(r"`(\w+)(?:=[^`]*)?`", _option_part(formats("load").get(name, ""))), "")
    for key, kind in _keywords(name, write):
        found[key] = "true or false" if "bool" in kind else "a number" if "int" in kind or "float" in kind else "a text"
    for key in known_options.known(name, writing=write) or ():
        found.setdefault(key, "")
    return found


def _keywords(name: str, write: bool) -> list[tuple[str, str]]:
    """The keywords of the method of PySpark's reader or writer that is called `name`, each with its type."""
    spec = find_spec("pyspark")
    if spec is None or not spec.submodule_search_locations:
        return []
    source = Path(spec.submodule_search_locations[0], "sql", "readwriter.py").read_text(encoding="utf-8")
    reader, _, writer = source.partition("class DataFrameWriter(")
    method = re.search(rf"    def {re.escape(name)}\(\n(.*?)\n    \) ->", writer if write else reader, re.S)
    found = re.findall(r"^ {8}(\w+): Optional\[(.+?)\] = None,$", method[1] if method else "", re.M)
    return [(key, kind) for key, kind in found if key not in ("schema", "mode", "partitionBy")]


def _option_part(text: str) -> str:
    return text.partition("option")[2]


@cache
def functions() -> Words:
    """SQL functions, each with how it is called and what it does: ai_* and llm_* first, then Spark's own."""
    about = {written.partition("(")[0]: text for written, text in manual.rows("serving/functions", "function").items()}
    found = {name: f"{signature(name)}: {about.get(name, '')}" for name in AI_FUNCTIONS}
    for name, (parameters, _, _, text) in FUNCTIONS.items():
        found[name] = f"{name}({parameters.lower()}): {text}"
    for name, builtin in builtins.functions().items():
        if name not in builtins.keywords() or builtin.call:  # `between` and its kin are not calls
            found[name] = f"{builtin.call}: {builtin.about}" if builtin.call else builtin.about
    return found


@cache
def settings() -> Words:
    """Settings by their dotted names."""
    found = {}
    for name in Settings.key_names():
        fields, _, key = name.rpartition(".")
        group = Settings.model_fields[fields].annotation if fields else Settings
        assert isinstance(group, type)
        found[name] = group.model_fields[key].description or ""
    return found


@cache
def cells() -> Words:
    """Kinds of cells."""
    told = {kind: manual.section("sql/cells", f"--%{kind}").partition("\n\n")[0] for kind in CELL_KINDS}
    lines = {kind: " ".join(text.split()).split(". ")[0] for kind, text in told.items() if text}
    return {**lines, "sql": "SQL follows"}


def parameters(kind: str) -> Words:
    """Parameters of a kind of cell."""
    text = manual.section("sql/cells", kind)
    told = re.findall(r"`(\w+)`(?= \(| is | names| to | of |, )", text)
    return {**dict.fromkeys(told, ""), "input": "a table", "output": "a table"}


def values(head: str, key: str, of: str = "") -> Iterable[str]:
    """The values that an option is known to take."""
    if key == "action":
        return ACTIONS
    if key == "pretrainedModelType":
        return ("sft/auto", "sfft/auto", "oracle/table", "oracle/function")
    if key == "load_balance":
        return ("least_busy", "round_robin", "prefix")
    if key in ("inferBackend", "infer_backend"):
        return sorted(point.name for point in entry_points(group="sqlllm.engines"))
    if head == "set":
        known: dict[str, Iterable[str]] = {
            "type": manual.rows("sql/set", "type"),
            "mode": ("runtime", "compile"),
            "scope": SCOPES,
            "visibility": VISIBILITIES,
        }
        return known.get(key, ())
    if key == "lang":
        return ("python", "sql")
    if ".bool." in key or of == "true or false" or key in ("detached", "reconnect"):
        return ("true", "false")
    return ()


def save_modes() -> Words:
    """What may stand between `save` and its table."""
    about = manual.rows("sql/save", "mode")
    return {mode: about.get(mode, "") for mode in SAVE_MODES.values()}


def line_of(thing: object) -> str:
    """The first line of an object's documentation."""
    return (inspect.getdoc(thing) or "").partition("\n")[0] if thing is not None else ""
