"""up, deploy, query, stat, serve, undeploy, down: as a user types them, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from sqlllm.console.cli import cli, flags
from sqlllm.console.cli.models import _post
from sqlllm.errors import ModelError
from sqlllm.jobs.reaper import marked

from ..certificates import write_certificate
from .test_cli import SQLLLM, sqlllm

ANSWERS = "prompt,answer\nhello,good day\n"
ORACLE = ["--pretrained_model_type", "oracle/table", "--model_path", "answers.csv"]
PAGES = ["--allowed_origins", '["https://page.example"]', "--allowed_methods", "GET,POST"]
POLITE = """\
model: polite
pretrained_model_type: ENV {{KIND}}
model_path: answers.csv
infer_params:
  max_model_len: 99
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's working folder, and a home without a cluster; whatever is up at the end goes down."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SQLLLM_HOME", str(tmp_path / "home"))
    (tmp_path / "answers.csv").write_text(ANSWERS)
    yield tmp_path
    if (tmp_path / "home" / "cluster.json").exists():
        sqlllm("down", cwd=tmp_path)


def test_a_file_of_models_may_hold_lists_and_objects(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(
        "model: chat\ninfer_backend: vllm\nserved_model_name: [gpt-4o, gpt-4]\ngpus_per_worker:\n"
        "infer_params: { hf_overrides: { tie: true, rope: [1, 2] }, eager: true, seed: }\n"
    )
    (model,) = flags.read(tmp_path / "models.yaml")
    assert flags.options(model) == {
        "action": "infer",
        "udfName": "chat",
        "inferBackend": "vllm",
        "served_model_name": "gpt-4o, gpt-4",
        "backend.hf_overrides": '{"tie": true, "rope": [1, 2]}',
        "backend.eager": "true",
    }


@pytest.mark.parametrize("command", ["deploy --model m --infer_backend vllm", "undeploy --model m", "stat"])
def test_without_a_cluster_the_cure_is_up(command: str, folder: Path) -> None:
    shown = sqlllm(*command.split(), cwd=folder)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "there is no cluster" in shown.stderr
    assert "`sqlllm up`" in shown.stderr


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("--model m", 1, "--infer_backend is missing"),
        ("--infer_backend vllm", 1, "--model is missing"),
        ("--model m --infer_params enforce_eager", 2, "there is no `=`"),
        ("--model m x=1", 2, "x=1 is not a flag; --infer_params x=1 is one"),
        ("--model m --file models.yaml", 2, "not in both"),
        ("--file models.yaml", 1, "unknown flag modle"),
        ("--file key.yaml", 1, "there is no variable SQLLLM_TEST_NO_KEY in the environment"),
        ("--file answers.csv", 1, "answers.csv holds no model"),
    ],
)
def test_a_wrong_command_line_is_named_before_anything_starts(
    command: str, code: int, words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "models.yaml").write_text("modle: m\n")
    (folder / "key.yaml").write_text("model: m\ninfer_params:\n  saas.api_key: ENV {{SQLLLM_TEST_NO_KEY}}\n")
    monkeypatch.chdir(folder)
    shown = CliRunner().invoke(cli, ["deploy", *command.split()])
    assert shown.exit_code == code
    assert words in f"{shown.output} {shown.exception}"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--template qwen", "a model's chat template comes with the model"),
        ("--prompt_template roles", "chat_template.jinja"),
        ("--response_role bot", "is assistant in OpenAI's protocol"),
        ("--uvicorn_log_level info", "GET /metrics counts requests"),
        ("--served_model_name gpt-4o", "Name a --file with that one alone"),
    ],
)
def test_a_flag_that_would_change_nothing_says_why(flags: str, words: str, folder: Path) -> None:
    shown = CliRunner().invoke(cli, ["serve", *flags.split()])
    assert shown.exit_code == 1
    assert words in str(shown.exception)


def test_up_where_scripts_join_another_cluster(folder: Path) -> None:
    shown = sqlllm("up", cwd=folder, RAY_ADDRESS="10.0.0.1:6379")
    assert shown.returncode == 1
    assert "scripts here join the Ray at 10.0.0.1:6379" in shown.stderr


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (404, '{"error": {"message": "there is no model m"}}', "there is no model m"),
        (502, "<h1>Bad Gateway</h1>", "not a gateway of ours: HTTP 502: <h1>Bad Gateway</h1>"),
        (404, '{"detail": "Not Found"}', "not a gateway of ours: HTTP 404"),
        (0, "", "does not answer: refused"),
    ],
)
def test_a_response_that_is_not_an_answer_is_one_error(status: int, text: str, words: str) -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        if not status:
            raise httpx.ConnectError("refused")
        return httpx.Response(status, text=text)

    with (
        httpx.Client(base_url="http://gateway", transport=httpx.MockTransport(reply)) as http,
        pytest.raises(ModelError, match=words),
    ):
        _post(http, "/v1/chat/completions", {})


@pytest.mark.slow
@pytest.mark.rare
def test_commands_and_scripts_share_the_models_of_a_cluster_until_it_is_down(folder: Path) -> None:
    def run(*arguments: str) -> str:
        shown = sqlllm(*arguments, cwd=folder)
        assert shown.returncode == 0, shown.stderr
        return shown.stdout

    assert run("up").startswith("up: ")
    mark = f"_SQLLLM_RAY={json.loads((folder / 'home' / 'cluster.json').read_text())['folder']}".encode()
    assert run("up").startswith("up already: ")
    (folder / "models.yaml").write_text(POLITE)
    certfile, keyfile = write_certificate(folder)
    asked = ["serve", "--port", "0", "--ssl_certfile", certfile.name]
    half = sqlllm(*asked, cwd=folder)
    assert (half.returncode, "serving.ssl_keyfile is missing" in half.stderr) == (1, True)
    asked += ["--ssl_keyfile", keyfile.name, "--file", "models.yaml"]
    shown = sqlllm(*asked, cwd=folder, KIND="oracle/table")
    assert shown.returncode == 0, shown.stderr
    endpoint = shown.stdout.splitlines()[-1]
    assert endpoint.startswith("https://127.0.0.1:")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{endpoint}/models")  # others know its signer, or not
    assert run("query", "--model", "polite", "--query", "hello") == "good day\n"
    run("deploy", "--model", "other", *ORACLE, "--num_workers", "2", "--infer_params", "max_model_len=64")
    models = {row["name"]: (row["state"], row["replicas"], row["endpoint"] + "/v1") for row in json.loads(
        run("stat", "--format", "json"))}  # fmt: skip
    assert models == {"polite": ("RUNNING", 1, endpoint), "other": ("RUNNING", 2, endpoint)}
    address = json.loads((folder / "home" / "cluster.json").read_text())["address"]
    run("query", "--model", "polite", "--query", "hello", "--output_file", "answer.txt", "--ray_address", address)
    assert (folder / "answer.txt").read_text() == "good day"
    workers = json.loads(run("stat", "--model", "polite", "--format", "json"))
    assert [(worker["state"], worker["requests"] > 0) for worker in workers] == [("idle", True)]

    (folder / "script.sql").write_text(
        'run command as LLM.`` where action="infer" and reconnect="true" and udfName="polite";\n'
        "--%chat\n--%model=polite\nhello\n--%sql\n"
        "explain llm select polite(llm_param(map('instruction', 'hello'))) as q from range(1) as x;\n"
        "select llm_result(polite(llm_param(map('instruction', 'hello')))) as answer as answers;"
    )
    assert json.loads(run("run", "script.sql", "--format", "json")) == [{"answer": "good day"}]

    with subprocess.Popen(
        [*SQLLLM, "stat", "--format", "json", "--interval", "0.2"], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as watches:
        assert watches.stdout is not None
        first, second = (json.loads(watches.stdout.readline()) for _ in range(2))
        watches.send_signal(signal.SIGINT)
    assert first == second
    assert watches.returncode == 130

    run("undeploy", "--model", "other")
    again = sqlllm("undeploy", "--model", "other", cwd=folder)
    assert (again.returncode, "there is no model other" in again.stderr) == (1, True)
    assert run("down").startswith("down: ")
    assert marked(mark) == []
    assert run("down") == "down already\n"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{endpoint}/models")


@pytest.mark.slow
def test_serve_without_a_cluster_ends_with_ctrl_c(folder: Path) -> None:
    (folder / "models.yaml").write_text(
        "- {model: polite, pretrained_model_type: oracle/table, model_path: answers.csv}\n"
    )
    (folder / "sqlllm.toml").write_text('[serving]\napi_key = "key-of-mine"\n')
    served = subprocess.Popen(
        [*SQLLLM, "serve", "--port", "0", "--file", "models.yaml", "--served_model_name", "gpt-4o", *PAGES],
        cwd=folder,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert served.stdout is not None
    try:
        first = served.stdout.readline()
        assert first.startswith("polite: RUNNING"), first or served.communicate()
        url = f"{served.stdout.readline().strip()}/models"
        assert httpx.get(url).status_code == 401
        key = {"Authorization": "Bearer key-of-mine"}
        models = httpx.get(url, headers=key).json()["data"]
        assert [model["id"] for model in models] == ["gpt-4o", "polite"]
        for origin, status in (("https://page.example", 200), ("https://elsewhere.example", 400)):
            asks = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            preflight = httpx.options(url, headers={**asks, "Access-Control-Request-Headers": "authorization"})
            assert preflight.status_code == status
            told = httpx.get(url, headers={**key, "Origin": origin}).headers.get("access-control-allow-origin")
            assert told == (origin if status == 200 else None)
    finally:
        served.send_signal(signal.SIGINT)
        _, errors = served.communicate()
    assert served.returncode == 130
    assert "Traceback" not in errors
