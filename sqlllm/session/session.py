"""The session: what a script runs in."""

from __future__ import annotations

import getpass
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlllm.dialect import Variables, parse
from sqlllm.errors import OptionError, ScriptErrors, SQLLLMError
from sqlllm.jobs import cluster
from sqlllm.settings import Settings

from . import queries, registry
from .caches import Kept
from .meter import Meter
from .models import Models
from .observer import Observer
from .origins import Origins
from .prompt_functions import PromptFunction, Prompts
from .secrets import Secrets
from .spark import start_spark
from .tables import Result, identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

    from sqlllm.client import Prompt
    from sqlllm.dialect.statements import Statement
    from sqlllm.jobs.serving import Serving
    from sqlllm.places import Place


class Session:
    """One user's variables, tables and models. Spark and Ray start when a statement first needs them.

    Not for several threads at once. Close it, or use it as a context manager: that ends what it started.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        spark: SparkSession | None = None,
        observer: Observer | None = None,
        user: str = "",
    ) -> None:
        self.settings = settings or Settings.load()
        self.observer = observer or Observer()
        self.user = user or getpass.getuser()
        self.variables = Variables(home=str(Path.home()), owner=self.user)
        self.origins = Origins()  # of tables
        self.meter = Meter(self)  # of what statements use of models
        self.overridden: set[str] = set()  # what the caller set, which the script's own `set` leaves alone
        self.reads_only = False  # whether SQL that may change something is refused
        self.setup: dict[str, str] = {}  # of `!byzerllm setup`
        self.models = Models(self)
        self.prompts = Prompts(self)  # that are functions
        self.connections: dict[tuple[str, str], dict[str, str]] = {}  # options of `connect`, by format and name
        self.libraries: dict[str, Path] = {}  # of `include lib`, by name and alias
        self.bridge: dict[str, str] = {}  # of `!python conf`
        self.python_names: dict[str, Any] = {}  # what --%python cells have defined
        self.running: list[str] = []  # macros and included scripts under way, the innermost last
        self.kept = Kept(self)  # answers of models
        self.cached: set[str] = set()  # tables to uncache when the script ends
        self.last: Result | None = None  # table of the last statement that gave one
        self._depth = 0  # of scripts in scripts
        self._secrets = Secrets(self.variables, self.settings)
        self._given_spark = spark
        self._spark_conf: dict[str, str] = {}  # of Spark itself, as the caller set it
        self._owns_ray = False
        self._started = time.monotonic()

    @cached_property
    def spark(self) -> SparkSession:
        """Spark, with the llm_* functions registered."""
        if self._given_spark is None:
            self.observer.step("starting Spark")
        return self._make_spark()

    @cached_property
    def serving(self) -> Serving:
        """The models, and the gateway in front of them; on Ray as soon as a model needs it."""
        from sqlllm.jobs.serving import Serving

        if self._given_spark is not None:  # whether its workers reach a gateway of this machine alone
            ours = self.settings.spark
            ours.master = self._given_spark.conf.get("spark.master", ours.master) or ours.master
        return Serving(self.settings, before_ray=self.start_ray)

    def start_ray(self) -> None:
        """Start or join Ray, unless this process has it already."""
        if not self._owns_ray:
            self.observer.step("starting Ray")
            self._owns_ray = cluster.start(self.settings.ray)

    def warm_up(self) -> None:
        """Start Spark and Ray side by side: each spends most of its start waiting."""
        self.observer.step("starting Spark")
        with ThreadPoolExecutor(1) as pool:
            spark = pool.submit(self._make_spark)
            self.start_ray()  # here: Ray ends with the thread that started it
            self.__dict__["spark"] = spark.result()

    def _make_spark(self) -> SparkSession:
        from sqlllm.udfs import functions

        spark = self._given_spark or start_spark(self.settings.spark, conf=self._spark_conf)
        functions.register(spark)
        return spark

    @property
    def spark_runs(self) -> bool:
        """Whether Spark has started."""
        return "spark" in self.__dict__

    @property
    def serves(self) -> bool:
        """Whether there may be deployed models: some of this session, or of the cluster it joins."""
        return "serving" in self.__dict__ or bool(cluster.address(self.settings.ray))

    def mask(self, text: str) -> str:
        """`text` with every secret starred out: what looks like one, and what was set as one."""
        return self._secrets.mask(text)

    @property
    def elapsed(self) -> float:
        """Seconds since the session was made."""
        return time.monotonic() - self._started

    def run(self, text: str, name: str = "<script>") -> Result | None:
        """Run a script and return the table of its last statement, if that gives one.

        Nothing runs if the script does not parse: ScriptErrors then holds every error. An error in a statement stops
        the script there; what ran before stands.
        """
        script = parse(text, name)
        if script.errors:
            raise ScriptErrors.of(script.errors)
        try:
            return self.run_all(script.statements)
        finally:
            if not self._depth:  # else a --%python cell of another script ran it
                self.end_script()

    def run_all(self, statements: Sequence[Statement]) -> Result | None:
        """Run parsed statements in order and return the last one's table."""
        last: Result | None = None
        self._depth += 1
        try:
            for statement in statements:
                last = self.execute(statement)
        finally:
            self._depth -= 1
        return last

    def end_script(self) -> None:
        """Forget what was for one script: its variables, and the tables it cached."""
        self.variables.end_request()
        while self.cached:
            self.spark.catalog.uncacheTable(self.cached.pop())

    def execute(self, statement: Statement) -> Result | None:
        """Run one statement; an error names its place."""
        self.variables.set("elapsed_seconds", f"{self.elapsed:.0f}")
        self.observer.started(statement)
        started = time.monotonic()
        options = getattr(statement, "options", None) or getattr(statement, "params", {})
        self._secrets.remember(options)
        for warning in getattr(options, "warnings", ()):
            self.observer.warned(f"{warning.message} ({warning.place})")
        try:
            place = statement.place
            with self.origins.statement(place) as origin, queries.made_by(origin), queries.errors_at(place):
                result = registry.handler_of(type(statement))(self, statement)
            if result is not None and result.origin is None:
                result = replace(result, origin=origin)
        except SQLLLMError as error:
            error.message, error.cure = self.mask(error.message), self.mask(error.cure)
            if isinstance(error, OptionError) and error.key in options:
                error.at(options[error.key].key_place)
            error.at(statement.place)
            raise
        self.observer.finished(statement, time.monotonic() - started)
        self.tell_usage()
        self.last = result or self.last
        self.kept.sweep()
        return result

    def register(
        self, prompt: Prompt[Any, Any], name: str = "", *, model: str = "", version: str = ""
    ) -> PromptFunction:
        """Make a function decorated by `sqlllm.prompt` a function of SQL, under its own name or another one.

            @sqlllm.prompt
            def rate(review: str) -> int:
                '''Rate from 1 to 5: {{ review }}'''

            session.register(rate, model="chat")
            session.run("select rate(review) as stars from reviews as rated;")

        Args:
            model: A deployed model; that of the prompt goes first, then the setting llm.model.
            version: A text; without it an equal version is taken again, and another text gets the next number.

        Raises: OptionError for a prompt that SQL cannot have, and for a version that is kept with another text.
        """
        from . import python_prompts

        return python_prompts.register(self, prompt, name, model=model, version=version)

    def tell_usage(self) -> None:
        """Report to the observer what models were used for, if they were, since the last time."""
        if used := self.meter.tell():
            self.observer.used(used)

    def cancel(self) -> None:
        """Stop Spark's jobs of this session, and its calls of models.

        Call it from another thread than that of `run`, which then raises.
        """
        try:
            if spark := self.__dict__.get("spark"):  # not the property, which may start another one
                spark.interruptAll()
        finally:
            self.meter.cancel()

    def override(self, name: str, value: str) -> None:
        """Set a setting or a variable that scripts leave alone, as `--set` does; `spark.*` is Spark's, too."""
        if Settings.has(name):
            self.settings.assign(name, value)
        else:
            self.variables.set(name, value, scope="session")
            if name.startswith("spark."):
                self._spark_conf[name] = value
                if self.spark_runs or self._given_spark:
                    with queries.errors_at(None):
                        self.spark.conf.set(name, value)
        self.overridden.add(name)

    def table(self, rows: Sequence[dict[str, Any]], schema: str) -> DataFrame:
        """A small table from rows made here; `schema` is Spark's DDL."""
        names = [column.split()[0].strip("`") for column in schema.split(", ")]
        return self.spark.createDataFrame([tuple(row[name] for name in names) for row in rows], schema)

    def name_table(self, frame: DataFrame, name: str, place: Place | None) -> Result:
        """Make `frame` the table `name` of later statements."""
        with queries.errors_at(place):  # a name that Spark refuses
            frame.createOrReplaceTempView(identifier(name))
        self.origins.named(name)
        self.kept.named(frame, name)
        return Result(frame, name, place)

    def keep(self, frame: DataFrame) -> DataFrame:
        """`frame`, computed once, when it is first read: a model answers once while something refers to the table."""
        return self.kept.keep(frame)

    def close(self) -> None:
        """End what this session started: its models, its Ray, its Spark."""
        if serving := self.__dict__.pop("serving", None):
            serving.close()
        if self._owns_ray:
            from sqlllm.jobs import cluster

            cluster.stop()
            self._owns_ray = False
        if spark := self.__dict__.pop("spark", None):
            if self._given_spark is None:
                spark.stop()
            else:
                self.kept.free()
            self.kept = Kept(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(**settings: Any) -> Session:
    """A session with these settings over those of file and environment: `connect(ray={"num_cpus": 8})`."""
    return Session(Settings.load(**settings))


# The handlers register themselves.
from . import (  # noqa: E402, F401
    branches,
    cells,
    commands,
    connections,
    explain,
    include,
    llm,
    load,
    modules,
    register,
    run,
    save,
    select,
    variables,
)
