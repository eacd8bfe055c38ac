"""What a call costs in the client, against the `openai` package's and the same bare server on this machine.

The server is a process of its own that answers at once from memory. Times are this process's CPU time, which is what
a client costs, whatever else the machine does. Both clients take turns, and the median of the rounds counts:
`vs_openai` and `stream_vs_openai` are our time divided by theirs, `import_ms` is that until `sqlllm.LLM` is there in a
fresh process, the least of several.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import openai

import sqlllm

CALLS, STREAMS, CHUNKS, ROUNDS, IMPORTS = 60, 6, 400, 9, 7
ASKED: list[Any] = [{"role": "user", "content": "Say something."}]

_IMPORT = "import time; start = time.process_time(); import sqlllm; sqlllm.LLM; print(time.process_time() - start)"


def _bodies() -> tuple[bytes, bytes]:
    """The response to a call and to a stream."""
    head = {"id": "chatcmpl-1", "created": 1, "model": "m"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    choice = {"index": 0, "message": {"role": "assistant", "content": "Something. " * 20}, "finish_reason": "stop"}
    whole = json.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
    chunks: list[Any] = [
        {
            **head,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": {"content": "some "}, "finish_reason": None}],
        }
    ] * CHUNKS
    chunks.append(
        {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    )
    chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    stream = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(whole), whole),
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%b" % (len(stream), stream),
    )


async def _serve() -> None:
    whole, stream = _bodies()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(length)
                writer.write(stream if b'"stream":' in body.replace(b" ", b"") else whole)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _time(call: Callable[[], Any], times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - start) / times


def _compare(ours: Callable[[], Any], theirs: Callable[[], Any], times: int) -> tuple[float, float]:
    """Seconds of a call, the median of the rounds."""
    ours(), theirs()
    rounds = [(_time(ours, times), _time(theirs, times)) for _ in range(ROUNDS)]
    return statistics.median(a for a, _ in rounds), statistics.median(b for _, b in rounds)


def main() -> None:
    server = subprocess.Popen([sys.executable, "-m", "bench.client", "serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        llm = sqlllm.LLM("m", url, "key")
        theirs = openai.OpenAI(base_url=url, api_key="key")

        def stream() -> None:
            assert len([delta.text for delta in llm.stream(ASKED)]) == CHUNKS

        def their_stream() -> None:
            options: Any = {"include_usage": True}
            chunks = theirs.chat.completions.create(model="m", messages=ASKED, stream=True, stream_options=options)
            assert len([chunk.choices[0].delta.content for chunk in chunks if chunk.choices]) == CHUNKS + 1

        call = _compare(
            lambda: llm.chat(ASKED).text, lambda: theirs.chat.completions.create(model="m", messages=ASKED), CALLS
        )
        streams = _compare(stream, their_stream, STREAMS)
    finally:
        server.kill()
        server.wait()
    imports = [
        float(subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True).stdout)
        for _ in range(IMPORTS)
    ]
    print(f"a call: {call[0] * 1e6:.0f} us, openai {call[1] * 1e6:.0f} us")
    print(f"a stream of {CHUNKS} chunks: {streams[0] * 1e3:.1f} ms, openai {streams[1] * 1e3:.1f} ms")
    figures = {
        "vs_openai": round(call[0] / call[1], 2),
        "import_ms": round(min(imports) * 1e3),
        "stream_vs_openai": round(streams[0] / streams[1], 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(_serve()) if sys.argv[1:] == ["serve"] else main()
