"""Models of providers from SQL: Byzer's own scripts, and that a key is in nothing that a run shows or writes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from rich.console import Console

from sqlllm.console.progress import PlainObserver
from sqlllm.errors import SQLLLMError
from sqlllm.jobs.serving import ModelSpec
from sqlllm.session import Session
from tests.serving import provider as fake
from tests.serving.provider import Provider, fails, says

from .cases import rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.jobs.serving import Serving

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parents[1] / "dialect" / "scripts"
KEY = "sk-hunter2-hunter2"
ASK = """select llm_result(r) as text, llm_error(r) as error from
         (select {name}(llm_param(map("instruction", concat("say ", id)))) as r from range(5)) as t;"""

CHAT = {"messages": [{"role": "user", "content": "hello"}]}
SAY = {"input": "hello", "voice": "v"}
AWS = {"aws_access_key": "AKIDEXAMPLE", "aws_secret_key": KEY, "aws_session_token": KEY, "region_name": "us-east-1"}
OWN_PROTOCOLS: list[tuple[dict[str, str], dict[str, Any], str]] = [
    ({"provider": "claude", "api_key": KEY}, CHAT, "claude answers 401"),
    ({"provider": "aws_bedrock", "model": "m", **AWS}, CHAT, "aws_bedrock answers 401"),
    ({"provider": "azure", "api_key": KEY}, SAY, "azure answers 401"),
    ({"provider": "volcengine", "api_key": KEY, "app_id": "1"}, SAY, "volcengine_speech answers 401"),
]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with fake.serve() as started:
        yield started


@pytest.fixture
def shown() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def session(spark: SparkSession, serving: Serving, shown: io.StringIO, tmp_path: Path) -> Iterator[Session]:
    console = Console(file=shown, width=400)
    with Session(spark=spark, observer=PlainObserver(console, console)) as session:
        session.__dict__["serving"] = serving
        session.override("home", str(tmp_path))
        yield session
        session.__dict__.pop("serving")  # others use it
        for name in session.models:
            serving.undeploy(name)


def test_swap_and_rollback(spark: SparkSession, provider: Provider, tmp_path: Path) -> None:
    def deploy(action: str, model: str) -> str:
        return f"""run command as LLM.`` where action="{action}" and pretrainedModelType="saas/openai"
            and udfName="away" and `saas.base_url`="{provider.url}" and `saas.api_key`="{KEY}"
            and `saas.model`="{model}";"""

    back = 'run command as LLM.`` where action="rollback" and udfName="away";'
    with Session(spark=spark) as session:
        session.override("home", str(tmp_path))

        def asked() -> str:
            rows_of(session, ASK.format(name="away"))
            return str(provider.asked[-1].body["model"])

        for statement in (deploy("swap", "one"), back):
            with pytest.raises(SQLLLMError, match="there is no model away"):
                session.run(statement)
        (one,) = rows_of(session, deploy("infer", "one"))
        with pytest.raises(SQLLLMError, match="model away has no revision before this one"):
            session.run(back)
        (two,) = rows_of(session, deploy("swap", "two"))
        assert asked() == "two"
        (again,) = rows_of(session, back)
        assert asked() == "one"
        (listed,) = rows_of(session, 'run command as LLM.`` where action="list";')
        assert one["revision"] == again["revision"] == listed["revision"] != two["revision"]


def test_a_whole_script_with_a_provider_s_model_starts_no_ray(
    spark: SparkSession, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object) -> None:
        raise AssertionError("Ray starts")

    monkeypatch.setattr("sqlllm.jobs.cluster.start", start)
    deploy = f"""run command as LLM.`` where action="infer" and pretrainedModelType="saas/openai" and udfName="away"
        and `saas.base_url`="{provider.url}" and `saas.api_key`="{KEY}" and `saas.model`="real";"""
    rows = ASK.format(name="away").removesuffix(";") + " as answers;"
    script = f"""{deploy} {rows}
        run command as LLM.`` where action="list" as models;
        select text, error from answers;"""
    with Session(spark=spark) as session:
        session.override("home", str(tmp_path))
        found = rows_of(session, script)
    assert sorted(row["text"] for row in found) == [says(f"say {number}") for number in range(5)]


@pytest.mark.parametrize(
    ("script", "name", "address", "path"),
    [
        ("azure", "azure_openai", "api_base",
         "/openai/deployments/xxxxx/chat/completions?api-version=2023-07-01-preview"),
        ("minimax", "minimax_saas", "api_url", "/text/chatcompletion_v2?GroupId=xxxxxxxxxxxxxxxx"),
        ("sparkdesk", "sparkdesk_saas", "gpt_url", "/chat/completions"),
    ],
)  # fmt: skip
def test_byzer_s_own_scripts(
    session: Session, provider: Provider, script: str, name: str, address: str, path: str
) -> None:
    text = (SCRIPTS / f"byzer_deploy_{script}.sql").read_text()
    text, found = re.subn(rf'({address}`=)"[^"]*"', rf'\1"{provider.url}"', text)
    assert found == 1
    provider.asked.clear()
    (row,) = rows_of(session, text)
    assert (row["name"], row["backend"], row["state"], row["replicas"]) == (name, "remote", "RUNNING", 1)
    rows = rows_of(session, ASK.format(name=name))
    assert {row["text"] for row in rows} == {says(f"say {number}") for number in range(5)}
    assert {asked.path for asked in provider.asked} == {path}
    (again,) = rows_of(
        session,
        f"""run command as LLM.`` where action="infer" and reconnect="true" and udfName="{name}"
                     and pretrainedModelType="saas/*" and modelTable="command";""",
    )
    assert {**again, "seconds": 0} == {**row, "seconds": 0}


def test_reconnect_to_nothing(session: Session) -> None:
    with pytest.raises(SQLLLMError, match="there is no model absent to reconnect to"):
        session.run('run command as LLM.`` where action="infer" and reconnect="true" and udfName="absent";')


def test_saas_options_are_for_providers(session: Session) -> None:
    script = """run command as LLM.`` where action="infer" and udfName="m" and localModelDir="/m"
                and `saas.api_key`="x";"""
    with pytest.raises(SQLLLMError, match=r"saas\.api_key is not an option of a model that runs here") as raised:
        session.run(script)
    assert raised.value.place is not None


def test_a_key_is_in_nothing_that_a_run_shows_or_writes(
    session: Session, provider: Provider, serving: Serving, shown: io.StringIO, tmp_path: Path
) -> None:
    deploy = f"""run command as LLM.`` where action="infer" and pretrainedModelType="saas/openai" and udfName="kept"
                 and `saas.base_url`="{provider.url}" and `saas.api_key`="KEY" and `saas.max_retries`="0"
                 and `saas.input_price`="1000000" and `saas.output_price`="2000000";"""
    everything = str(rows_of(session, deploy.replace("KEY", KEY)))
    provider.say(fails(500, {"error": {"message": f"the key {KEY} broke us"}}))
    answered = rows_of(session, ASK.format(name="kept"))
    assert sum(row["error"] is not None for row in answered) == 1
    (used,) = [one for one in httpx.get(f"{serving.endpoint}/v1/usage").json()["usage"] if one["model"] == "kept"]
    assert used["cost"] == used["prompt_tokens"] + 2 * used["answer_tokens"] > 0
    provider.answers = fails(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}})
    with pytest.raises(SQLLLMError, match=r"provided: \*\*\*") as raised:
        rows_of(session, ASK.format(name="kept").replace("say", "tell"))
    status = 'run command as LLM.`` where action="status" and udfName="kept" as s;'
    logs = 'run command as LLM.`` where action="logs" and udfName="kept" as s;'
    everything += f"{answered} {raised.value} {rows_of(session, status)} {rows_of(session, logs)} {shown.getvalue()}"
    everything += httpx.get(f"{serving.endpoint}/v1/models/kept").text
    assert '"secrets":{"api_key":"**********"}' in everything
    assert provider.asked[-1].headers["authorization"] == f"Bearer {KEY}"
    for options, body, words in OWN_PROTOCOLS:
        given = {"base_url": provider.url, "max_retries": "0", **options}
        serving.deploy(ModelSpec(name="kept", engine="remote", model_path="", engine_options=given))
        route = "audio/speech" if "voice" in body else "chat/completions"
        refused = httpx.post(f"{serving.endpoint}/v1/{route}", json={"model": "kept", **body}, timeout=60).text
        assert f"{words}: Incorrect API key provided: ***" in refused
        everything += refused + httpx.get(f"{serving.endpoint}/v1/models/kept").text
        everything += f"{rows_of(session, status)} {rows_of(session, logs)}"
    assert KEY not in everything
    import ray

    folders = [tmp_path, Path(ray._private.worker._global_node.get_session_dir_path())]  # type: ignore[attr-defined]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
