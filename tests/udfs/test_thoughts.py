from __future__ import annotations

import pytest

from sqlllm.udfs.thoughts import split


@pytest.mark.parametrize(
    ("text", "answer", "thoughts"),
    [
        ("Paris", "Paris", ""),
        ("<think>hm</think>\n\nParis", "Paris", "hm"),
        ("<thinking>\nhm\n</thinking>\nParis\n", "Paris", "hm"),
        ("<THINK>hm</Think>Paris", "Paris", "hm"),
        ("<thought>hm</thought>Paris", "Paris", "hm"),
        ("<seed:think>hm</seed:think>Paris", "Paris", "hm"),
        ("[THINK]hm[/THINK]Paris", "Paris", "hm"),
        ("◁think▷hm◁/think▷Paris", "Paris", "hm"),
        ("<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>Paris<|END_RESPONSE|>", "Paris", "hm"),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Paris", "Paris", "hm"),
        # The template wrote the opening mark, max_tokens cut the closing one off, or both are there for nothing.
        ("hm, so\n</think>\n\nParis", "Paris", "hm, so"),
        ("<think>hm, so", "", "hm, so"),
        ("  <think>\nhm", "", "hm"),
        ("<think>\n\n</think>\n\nParis", "Paris", ""),
        # Several, also after the answer, and one within another.
        ("<think>a</think>Pa<think>b</think>ris", "Paris", "a\n\nb"),
        ("<think>a</think>\n<think>b", "", "a\n\nb"),
        ("<think>a <think> b</think>Paris", "Paris", "a <think> b"),
        ('<think>{"name": "?"}</think>{"name": "Anna"}', '{"name": "Anna"}', '{"name": "?"}'),
        # What speaks of a mark is an answer.
        ("Write <think> to begin.", "Write <think> to begin.", ""),
        ("`<think>` opens, `</think>` closes.", "`<think>` opens, `</think>` closes.", ""),
        ("```xml\n<think>a</think>\n```", "```xml\n<think>a</think>\n```", ""),
        ("I think so", "I think so", ""),
        ("a <thinker>b</thinker>", "a <thinker>b</thinker>", ""),
        ("  as it is  ", "  as it is  ", ""),
    ],
)
def test_thoughts_are_kept_apart(text: str, answer: str, thoughts: str) -> None:
    assert split(text) == (answer, thoughts)
