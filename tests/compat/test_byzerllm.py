"""Byzer-LLM's documented uses, written again; `import ... as byzerllm` is the one line that changed."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any

import pydantic
import pytest

import sqlllm.compat.byzerllm as byzerllm
from sqlllm.client.impl import clear_impl_cache
from sqlllm.compat import cluster
from sqlllm.errors import OptionError
from tests.client.server import Server, calls, sends, text
from tests.client.test_media import PNG, WAV


@pytest.fixture
def llm(server: Server) -> Any:
    return byzerllm.get_single_llm("v3_chat", product_mode="lite")


class Story(pydantic.BaseModel):
    """A story."""

    title: str = pydantic.Field(description="its title")
    body: str = pydantic.Field(description="its text")


@byzerllm.prompt()
def tell_story() -> str:
    """
    Tell a story of 100 words.
    """


def test_a_provider_is_deployed_and_asked_without_a_cluster(server: Server) -> None:
    llm = byzerllm.SimpleByzerLLM(default_model_name="deepseek_chat")
    params = {"saas.base_url": server.url, "saas.api_key": "sk-1", "saas.model": "deepseek-chat"}
    llm.deploy(model_path="", pretrained_model_type="saas/openai", udf_name="deepseek_chat", infer_params=params)
    server.say("I am a model.")
    answer = llm.chat_oai(conversations=[{"role": "user", "content": "Who are you?"}])
    assert answer[0].output == "I am a model."
    meta = answer[0].meta
    assert (meta["request_id"], meta["input_tokens_count"], meta["generated_tokens_count"]) == ("chatcmpl-1", 10, 5)
    assert (meta["finish_reason"], meta["speed"] > 0) == ("stop", True)
    assert server.bodies[0]["model"] == "deepseek-chat"
    assert server.asked[0].headers["authorization"] == "Bearer sk-1"
    assert llm.is_model_exist("deepseek_chat")
    llm.undeploy(udf_name="deepseek_chat")
    with pytest.raises(OptionError, match="unknown provider saas/opnai"):
        llm.deploy(pretrained_model_type="saas/opnai", udf_name="x", infer_params={})


def test_a_prompt_function_says_hello_shows_its_prompt_and_changes_its_model(server: Server, llm: Any) -> None:
    @byzerllm.prompt(llm=llm)
    def hello(q: str) -> str:
        """
        Hello, {{ q }}
        """

    server.say("Hi there", "Hi again")
    assert hello("who are you") == "Hi there"
    assert hello.prompt("who are you") == "Hello, who are you"
    assert hello.with_llm(byzerllm.get_single_llm("other")).run("who are you") == "Hi again"
    assert [body["model"] for body in server.bodies] == ["v3_chat", "other"]


def test_a_long_text_is_whole_with_a_small_limit(server: Server, llm: Any) -> None:
    full = "<RESPONSE>Once upon a time there was a fox that found a stone.</RESPONSE>"

    def reply(handler: Any, asked: Any) -> None:
        messages = asked.body["messages"]
        said = messages[-2]["content"] if len(messages) > 1 else ""
        begin = len(said) - min(32, len(said))
        text(full[begin : len(said) + 10], "length" if len(said) + 10 < len(full) else "stop")(handler, asked)

    server.always = reply
    run = tell_story.with_llm(llm).with_response_markers().options({"llm_config": {"max_length": 10}})
    assert run.run() == "Once upon a time there was a fox that found a stone."
    assert {body["max_tokens"] for body in server.bodies} == {10}


def test_objects_by_annotation_by_return_type_and_by_extraction(server: Server, llm: Any) -> None:
    @byzerllm.prompt()
    def typed() -> Story:
        """
        Tell a story of 100 words.
        """

    @byzerllm.prompt()
    def pattern(desc: str) -> str:
        """
        Write a regular expression for: {{ desc }}

        Put it between <REGEX></REGEX>.
        """

    def extract(block: str) -> str:
        found = re.search(r"<REGEX>(.*)</REGEX>", block, re.DOTALL)
        assert found
        return found[1]

    server.say('{"title": "The brave bird", "body": "..."}', '```json\n{"title": "The cat", "body": "x"}\n```')
    server.say("Here: <REGEX>^[a-z]+@[a-z]+$</REGEX>")
    story = typed.with_llm(llm).run()
    assert isinstance(story, Story)
    assert story.title == "The brave bird"
    assert tell_story.with_llm(llm).with_return_type(Story).run().title == "The cat"
    assert pattern.with_llm(llm).with_extractor(extract).run(desc="an address") == "^[a-z]+@[a-z]+$"


DATA = {"name": "Jane", "task_count": 2, "tasks": [{"name": "Report", "due": "1"}, {"name": "Reply", "due": "2"}]}


class RAG:
    def __init__(self) -> None:
        self.llm = byzerllm.ByzerLLM()
        self.llm.setup_template(model="deepseek_chat", template="auto")
        self.llm.setup_default_model_name("deepseek_chat")

    @byzerllm.prompt(lambda self: self.llm)
    def by_template(self, name, task_count, tasks) -> str:  # type: ignore[no-untyped-def]
        """
        Hello {{ name }}, {{ task_count }} tasks:
        {% for task in tasks %}
        - {{ task.name }} | {{ task.due }}
        {% endfor %}
        """

    @byzerllm.prompt(lambda self: self.llm, render="jinja2")
    def by_body(self, name, task_count, tasks) -> str:  # type: ignore[no-untyped-def]
        """
        Hello {{ name }}:

        {{ tasks }}
        """
        return {"tasks": "\n".join(f"- {task['name']}" for task in tasks)}  # type: ignore[return-value]

    @byzerllm.prompt(render="simple")
    def unasked(self, context: str, question: str) -> str:
        """
        Answer by {context}
        Question: {question}
        """


def test_prompts_of_a_class_with_loops_bodies_and_without_a_model(server: Server, llm: Any) -> None:
    rag = RAG()
    server.say("one", "two", "three")
    assert rag.by_template(**DATA) == "one"
    assert rag.by_body.with_llm(llm).run(**DATA) == "two"
    assert server.asked[0].last == "Hello Jane, 2 tasks:\n\n- Report | 1\n\n- Reply | 2\n"
    assert server.asked[1].last == "Hello Jane:\n\n- Report\n- Reply"
    assert rag.unasked(context="c", question="q") == "Answer by c\nQuestion: q"

    @llm.prompt(render="simple")
    def generate_answer(context: str, question: str) -> str:
        """Answer by {context}: {question}"""

    assert generate_answer(context="c", question="q") == "three"
    assert server.asked[2].last == "Answer by c: q"


def test_functions_are_implemented_once(server: Server, llm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLLLM_ALLOW__PYTHON", "true")
    clear_impl_cache()

    class Range(pydantic.BaseModel):
        start: str = pydantic.Field(..., description="yyyy-MM-dd")

    @llm.impl(instruction="from March to July")
    def time_range() -> Range:  # type: ignore[empty-body]
        """
        Compute a range of time.
        """

    server.say("```python\ndef time_range():\n    return {'start': '2023-03-01'}\n```")
    assert time_range().start == time_range().start == "2023-03-01"
    assert len(server.asked) == 1
    assert "from March to July" in server.asked[0].last
    llm.clear_impl_cache()

    def add(days: int):  # type: ignore[no-untyped-def]
        """
        Compute it.
        """

    server.say(
        "```python\ndef add(days):\n    return {'start': str(days)}\n```",
        "```python\ndef add(days):\n    return {}\n```",
    )
    asked = [{"role": "user", "content": "the days"}]
    answer = llm.chat_oai(
        asked, impl_func=add, impl_func_params={"days": 3}, response_class=Range, execute_impl_func=True
    )
    assert answer[0].value == Range(start="3")
    llm.clear_impl_cache()
    answer = llm.chat_oai(
        asked, impl_func=add, impl_func_params={"days": 3}, response_class=Range, execute_impl_func=True
    )
    assert answer[0].value is None
    assert "not a valid Range" in answer[0].metadata.get("resason", "")


def test_streams_give_pieces_with_what_is_known(server: Server, llm: Any) -> None:
    asked = [{"role": "user", "content": "Hello"}]
    server.say("abc", "abc", "abc", text("abc", reasoning_content="hm"))
    pieces = list(llm.stream_chat_oai(model="m", conversations=asked, delta_mode=True))
    assert [piece for piece, _ in pieces] == ["a", "b", "c", ""]
    assert (pieces[-1][1].input_tokens_count, pieces[-1][1].finish_reason) == (10, "stop")
    whole = llm.stream_chat_oai(conversations=asked, llm_config={"gen.incremental_output": False})
    assert [piece for piece, _ in whole] == ["a", "ab", "abc", "abc"]

    async def read() -> list[str]:
        return [piece async for piece, _ in llm.async_stream_chat_oai(conversations=asked)]

    assert asyncio.run(read()) == ["a", "b", "c", ""]

    @byzerllm.prompt()
    def told() -> Generator[str, None, None]:
        """
        Tell.
        """

    holder = byzerllm.MetaHolder()
    assert "".join(told.with_llm(llm).with_meta(holder).run()) == "abc"
    assert holder.get_meta()["reasoning_content"] == "hm"
    assert holder.get_meta_model().input_tokens_count == 10


def date_range(
    count: Annotated[int, "how long"], unit: Annotated[str, "the unit", {"enum": ["day", "week", "month", "year"]}]
) -> list[str]:
    """
    Compute a range of dates.

    Args:
        count: how long
        unit: the unit
    """
    return [f"{count} {unit}s ago", "now"]


def compute_now() -> str:
    """
    Compute the time.
    """
    return "2024-06-14 15:18:02"


def test_tools_are_executed_once_with_and_without_tool_calls(server: Server, llm: Any) -> None:
    tools = [date_range, compute_now]

    def ask(words: str) -> Any:
        return llm.chat_oai([{"content": words, "role": "user"}], tools=tools, execute_tool=True)[0]

    server.say(calls(("compute_now", "{}")), calls(("date_range", '{"count": 3, "unit": "month"}')), "I do not eat.")
    assert ask("the time").values == ["2024-06-14 15:18:02"]
    assert ask("three months").values == [["3 months ago", "now"]]
    answer = ask("Have you eaten?")
    assert (answer.values, answer.response.output) == ([], "I do not eat.")
    assert len(server.asked) == 3
    server.say(sends(400, {"error": {"message": "tools are not supported by this model"}}))
    server.say('{"calls": [{"name": "compute_now", "arguments": {}}], "answer": ""}')
    assert ask("the time").values == ["2024-06-14 15:18:02"]


def test_typed_answers_in_one_call_after_a_chat_and_by_an_own_prompt(server: Server, llm: Any) -> None:
    asked = [{"content": "Tell a story.", "role": "user"}]
    server.say("ok", '{"title": "t", "body": "b"}', "chat", '{"title": "u", "body": "b"}', "ok", *["no"] * 3)
    assert llm.chat_oai(asked, response_class=Story)[0].value.title == "t"
    assert llm.chat_oai(asked, response_class=Story, response_after_chat=True)[0].value.title == "u"
    failed = llm.chat_oai(asked, response_class=Story)[0]
    assert (failed.value, "valid Story" in failed.metadata["reason"]) == (None, True)
    llm.setup_response_class_format_func("v3_chat", lambda prompt, cls: f"{prompt} as {cls.__name__}")
    server.say("ok", '{"title": "v", "body": "b"}')
    assert llm.chat_oai(asked, response_class=Story)[0].value.title == "v"
    assert server.asked[-1].last == "Tell a story. as Story"


def test_images_by_type_by_body_and_in_json(server: Server, llm: Any, tmp_path: Path) -> None:
    from byzerllm.types import ImagePath  # type: ignore[import-not-found]

    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()

    @byzerllm.prompt()
    def by_type(image_path: ImagePath) -> str:
        """
        {{ image_path }}
        What is it?
        """

    @byzerllm.prompt()
    def by_body(image_path: str) -> str:
        """
        {{ image }}
        What is it?
        """
        return {"image": byzerllm.Image.load_image_from_path(image_path)}  # type: ignore[return-value]

    assert by_type.with_llm(llm).run(ImagePath(value=str(path))) == "ok"
    assert by_body.with_llm(llm).run(str(path)) == "ok"
    vl = byzerllm.ByzerLLM.from_default_model("gpt4o_mini_chat")
    image = byzerllm.Image.load_image_from_path(str(path))
    bare = base64.b64encode(PNG).decode()
    for parts in (
        [{"image": image, "text": "What is it?"}],
        [{"type": "image_url", "image_url": {"url": image, "detail": "high"}}, {"text": "What is it?", "type": "text"}],
        [{"image": f"data:image/jpg,{bare}"}, {"text": "What is it?"}],
    ):
        content = json.dumps(parts, ensure_ascii=False)
        assert vl.chat_oai(conversations=[{"role": "user", "content": content}])[0].output == "ok"
    vl.chat_oai(conversations=[{"role": "user", "content": "What is it?"}], llm_config={"image": bare})
    for asked in server.asked:
        assert asked.last[0]["image_url"]["url"] == url
        assert asked.last[1]["text"] == "What is it?"


def test_speech_hearing_and_drawing(server: Server, tmp_path: Path) -> None:
    from byzerllm.types import AudioPath  # type: ignore[import-not-found]

    speaker = byzerllm.get_single_llm("openai_tts")
    content = json.dumps({"input": "hello", "voice": "alloy", "response_format": "mp3"})
    server.say(*[sends(200, WAV, content_type="audio/wav")] * 2)
    answer = speaker.chat_oai(conversations=[{"role": "user", "content": content}])
    assert base64.b64decode(answer[0].output) == WAV
    assert server.bodies[0] == {"model": "openai_tts", "input": "hello", "voice": "alloy", "response_format": "mp3"}
    streamed = speaker.stream_chat_oai(conversations=[{"role": "user", "content": content}])
    assert b"".join(piece[0] for piece in streamed) == WAV
    path = tmp_path / "a.mp3"
    path.write_bytes(WAV)

    @byzerllm.prompt(llm=byzerllm.get_single_llm("speech_to_text"))
    def audio_to_text(audio_file: AudioPath):  # type: ignore[no-untyped-def]
        """
        {{ audio_file }}
        """

    heard = {"text": "In the last", "duration": 10.0, "words": [{"word": "In", "start": 0.0, "end": 0.2}]}
    server.say(sends(200, heard))
    assert json.loads(audio_to_text(AudioPath(value=str(path)))) == heard
    server.say(sends(200, {"data": [{"b64_json": base64.b64encode(PNG).decode()}]}))
    content = json.dumps({"input": "a white cat", "size": "1024x1024", "quality": "standard"})
    drawn = byzerllm.get_single_llm("openai_image_gen").chat_oai(conversations=[{"role": "user", "content": content}])
    assert base64.b64decode(drawn[0].output) == PNG


def test_a_conversation_a_prefix_and_stop(server: Server, llm: Any) -> None:
    from autocoder.utils.llms import get_single_llm  # type: ignore[import-not-found]

    history = [{"role": "user", "content": "A story about space"}, {"role": "assistant", "content": "Of Mars..."}]
    assert tell_story.with_llm(get_single_llm("v3_chat", product_mode="lite")).with_conversation(history).run() == "ok"
    assert server.bodies[0]["messages"][:2] == history
    config = {"gen.response_prefix": True, "gen.stop": ["</END>"]}
    answer = llm.chat_oai(conversations=history, llm_config=config)
    assert answer[0].output == "ok"
    assert server.bodies[1]["messages"][-1] == history[-1]
    assert (server.bodies[1]["continue_final_message"], server.bodies[1]["stop"]) == (True, ["</END>"])
    with pytest.raises(OptionError, match="assistant's message at the end"):
        llm.chat_oai(conversations=history[:1], llm_config=config)


def test_vectors_ranks_tokens_meta(server: Server, llm: Any) -> None:
    vector = sends(200, {"data": [{"index": 0, "embedding": [0.5, 0.25]}]})
    server.say(vector, vector, vector)
    llm.setup_default_emb_model_name("emb")
    assert llm.emb_query("Hello")[0].output == [0.5, 0.25]
    assert llm.emb("emb", byzerllm.LLMRequest(instruction="wow"))[0].output == [0.5, 0.25]
    assert llm.emb(None, byzerllm.LLMRequest(instruction="Hello")).output == [0.5, 0.25]
    results = {"results": [{"index": 1, "relevance_score": 6.2}, {"index": 0, "relevance_score": -8.2}]}
    server.say(sends(200, {"results": [{"index": 0, "relevance_score": 0.4}]}), sends(200, results))
    assert llm.emb_rerank(sentence_pairs=["q", "p"])[0].output == [["q", "p"], 0.4]
    ranked = llm.emb_rerank(sentence_pairs=[["panda?", "hi"], ["panda?", "a bear"]])[0].output
    assert ranked == [[["panda?", "a bear"], 6.2], [["panda?", "hi"], -8.2]]
    server.say(sends(200, {"tokens": [1, 2]}), sends(200, {"id": "chat", "meta": {"max_model_len": 4096}}))
    assert llm.tokenize("chat", "a b")[0].output == [1, 2]
    assert llm.get_meta(model="chat") == {"max_model_len": 4096}
    server.say(sends(200, {"data": [{"id": "chat"}]}))
    assert not llm.is_model_exist("other")


def test_settings_of_a_model_are_sent_and_those_of_clusters_chain(server: Server) -> None:
    from byzerllm.utils.client import ByzerLLM, InferBackend, Templates  # type: ignore[import-not-found]

    byzerllm.connect_cluster(address="ray://127.0.0.1:10001")
    llm = ByzerLLM(verbose=True)
    chained = llm.setup_gpus_per_worker(0.4).setup_num_workers(2).setup_infer_backend(InferBackend.Transformers)
    assert chained is llm
    llm.setup_template("chat", Templates.qwen())
    llm.setup_extra_generation_params("chat", {"generation.stop_token_ids": [7]})
    llm.chat_oai(model="chat", conversations=[{"role": "user", "content": "Hi"}])
    assert llm.chat("chat", byzerllm.LLMRequest(instruction="hello world"))[0].output == "ok"
    assert [body["stop_token_ids"] for body in server.bodies] == [[7], [7]]
    assert cluster.deployment("emb", "/m/bge", "custom/bge", llm._deployment, {"backend.max_model_len": 4096}) == (
        "run command as LLM.`` where\n`action`='''infer'''\nand `udfName`='''emb'''\nand `localModelDir`='''/m/bge'''\n"
        "and `pretrainedModelType`='''custom/bge'''\nand `gpus_per_worker`='''0.4'''\nand `num_workers`='''2'''\n"
        "and `inferBackend`='''transformers'''\nand `backend.max_model_len`='''4096''';"
    )
    with pytest.raises(AttributeError, match="setup_gpu_per_worker"):
        llm.setup_gpu_per_worker(1)


def test_statements_of_training_are_valid() -> None:
    from sqlllm.dialect import parse

    for statement in (
        cluster.training("finetune", "mine", "/data/a.jsonl", "/m/base", {"sft.int.max_steps": 10}),
        cluster.merging("mine", "/m/base", "/m/lora", "/m/out"),
    ):
        assert not parse(statement).errors


def test_models_of_auto_coder_are_known_by_their_files(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / ".auto-coder" / "keys"
    keys.mkdir(parents=True)
    (keys / "my.key").write_text("sk-mine\n")
    entry = {"name": "mine", "base_url": server.url, "model_name": "big", "api_key_path": "my.key"}
    (keys / "models.json").write_text(json.dumps([entry]))
    monkeypatch.setenv("HOME", str(tmp_path))
    byzerllm.get_single_llm("mine,other").chat_oai([{"role": "user", "content": "Hi"}])
    assert (server.bodies[0]["model"], server.asked[0].headers["authorization"]) == ("big", "Bearer sk-mine")


def test_helpers_for_code_tags_and_async(tmp_path: Path) -> None:
    from autocoder.common.files import read_file  # type: ignore[import-not-found]
    from byzerllm.apps.utils import TagExtractor  # type: ignore[import-not-found]
    from byzerllm.types import Bool  # type: ignore[import-not-found]
    from byzerllm.utils.client import code_utils  # type: ignore[import-not-found]
    from byzerllm.utils.langutil import asyncfy, asyncfy_with_semaphore  # type: ignore[import-not-found]

    blocks = code_utils.extract_code("\n```shell\nls -l\n```\ntext\n```python\nprint('```')\n```\n")
    assert blocks == [("shell", "ls -l"), ("python", "print('```')")]
    found = TagExtractor("a\n<_image_>data:1</_image_>\n b <_image_>data:2</_image_>").extract()
    assert [tag.content for tag in found.content] == ["data:1", "data:2"]
    assert Bool.model_validate_json('{"value": true}').value
    (tmp_path / "a.txt").write_bytes("中文".encode("gbk"))
    assert read_file(str(tmp_path / "a.txt")) == "中文"

    async def run() -> Any:
        limit = asyncio.Semaphore(1)
        slow = asyncfy_with_semaphore(lambda x: x + 1, limit)
        with pytest.raises(TimeoutError):
            await asyncfy_with_semaphore(lambda: time.sleep(0.5), timeout=0.05)()
        return await asyncio.gather(slow(1), slow(2), asyncfy(lambda x: x)(3))

    assert asyncio.run(run()) == [2, 3, 3]
