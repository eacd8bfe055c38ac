"""Illufly's documented uses, written again, and scripts that run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sqlllm.compat.illufly import ChatDeepSeek, ChatQwen, ChatQwenVL, Messages, Runnable, Template
from tests.client.server import Server, calls


def test_a_chat_is_declared_and_called(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    qwen = ChatQwen(model="qwen-plus")
    server.say("I am Qwen.", "I am Qwen.")
    assert qwen(["You are a helpful assistant.", "Who are you?"]) == "I am Qwen."
    assert qwen.memory == [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "I am Qwen."},
    ]
    messages = [{"role": "system", "content": "You are kind."}, {"role": "user", "content": "Who are you?"}]
    qwen(messages, verbose=True, new_chat=True)
    shown = capsys.readouterr().out
    assert shown.startswith("I am Qwen.\nI am Qwen.\n\n")
    assert '[USAGE] {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}' in shown
    assert server.asked[0].headers["authorization"] == "Bearer sk-test"
    assert server.bodies[0]["model"] == "qwen-plus"


def test_a_memory_and_tools(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    def get_current_weather(location: str):  # type: ignore[no-untyped-def]
        """Useful to know the weather of a city."""
        return f"{location} is sunny. "

    qwen = ChatQwen(model="qwen-plus", seed=7, memory="You sell phones.", tools=[get_current_weather])
    server.say(calls(("get_current_weather", '{"location": "Beijing"}')), "It is sunny.", "Beijing.")
    assert qwen([{"role": "user", "content": "The weather?"}], new_chat=True) == "It is sunny."
    assert qwen("Which city did I ask about?") == "Beijing."
    assert capsys.readouterr().out == "Beijing is sunny. \n\nIt is sunny.\nBeijing.\n"
    assert server.bodies[0]["seed"] == 7
    assert [message["role"] for message in qwen.memory] == [
        "system", "user", "assistant", "tool", "assistant", "user", "assistant",
    ]  # fmt: skip


def test_templates_are_shown_and_bound_as_illufly_does() -> None:
    class A(Runnable):
        def call(self, prompt: str, **kwargs: object) -> None:
            self._last_input = prompt

    template = Template(text="You are a writer, write {{last_input}}.")
    assert Messages([template, ("user", "go")]).raw_messages[1] == ("user", "go")
    assert repr(template) == "<Template consumer_dict=set() text='You are a writer, write {{last_input}}.'>"
    a = A()
    a.bind_consumers(template)
    a("a novel")
    assert Messages([template, "go"]).to_list({"task": "x"})[0]["content"] == "You are a writer, write a novel."
    assert a.provider_dict == template.consumer_dict == {"last_input": "a novel"}
    assert Template("IDEA").format({"task": "x"}).endswith("x\n")


def test_other_chats_have_their_own_models(server: Server) -> None:
    assert ChatDeepSeek(api_key="k").llm.endpoint.base == "https://api.deepseek.com/v1"
    seeing = ChatQwenVL(show=False)
    seeing([("user", [{"image": "https://x.org/a.png"}, {"text": "what?"}])])
    assert [part["type"] for part in server.asked[0].last] == ["image_url", "text"]


def test_scripts_run_as_they_stand(server: Server, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "import ray\n"
        "import byzerllm\n"
        "from byzerllm.utils.client import ByzerLLM, LLMRequest, InferBackend\n"
        "from autocoder.utils.llms import get_single_llm\n"
        "from illufly.chat import ChatQwen\n"
        "from illufly.types import Messages, Template\n"
        "ray.init(address='auto', namespace='default', ignore_reinit_error=True)\n"
        "llm = ByzerLLM()\n"
        "llm.setup_template('m', 'auto')\n"
        "print(llm.chat_oai(model='m', conversations=[{'role': 'user', 'content': 'Hi'}])[0].output)\n"
        "ChatQwen(model='qwen-plus')('Hi')\n"
        "print(sys.argv[1:])\n"
    )
    run = [sys.executable, "-m", "sqlllm.compat", str(script), "a", "b"]
    shown = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert (shown.stdout, shown.stderr) == ("ok\nok\n['a', 'b']\n", "")
    missing = subprocess.run([*run[:3], "nowhere.py"], capture_output=True, text=True)
    assert (missing.returncode, "usage:" in missing.stderr) == (1, True)
