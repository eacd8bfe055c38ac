"""Every option of Byzer-LLM's finetune, convert and merge: it has its place here, or is refused with a reason.

The keys `sft.<type>.<key>`, with Byzer's defaults, are in test_options.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from sqlllm.errors import OptionError
from sqlllm.jobs.conversion.spec import ConvertSpec
from sqlllm.jobs.training import FinetuneSpec
from sqlllm.jobs.training.pretrain_spec import PretrainSpec

CASES = [json.loads(line) for line in Path(__file__).with_name("byzer_options.jsonl").read_text().splitlines()]
SPECS: dict[str, type[FinetuneSpec | PretrainSpec | ConvertSpec]] = {
    "sft": FinetuneSpec, "sfft": PretrainSpec, "deepspeed": ConvertSpec, "lora": ConvertSpec,
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['type']}-{case['option']}-{case['text']}")
def test_an_option_has_its_place_or_is_refused(case: dict[str, Any], tiny_model: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")

    checkpoints = tmp_path / "checkpoints"
    (checkpoints / "Epoch-1").mkdir(parents=True)
    (checkpoints / "latest").write_text("Epoch-1")
    folders = {"MODEL": str(tiny_model), "ADAPTER": str(adapter), "CHECKPOINTS": str(checkpoints)}

    def here(text: Any) -> Any:
        return folders.get(text, text) if isinstance(text, str) else text

    needed = {"savePath": str(tmp_path / "out")} if SPECS[case["type"].partition("/")[0]] is ConvertSpec else {}
    if case["option"] == "save_path":
        needed.clear()
    given = {**needed, **case.get("with", {}), case["option"]: case["text"]}
    options = {"pretrainedModelType": case["type"], **{key: here(text) for key, text in given.items()}}
    spec = SPECS[case["type"].partition("/")[0]]
    if "refused" in case:
        with pytest.raises(OptionError) as caught:
            spec.from_options(options)
        assert case["refused"] in caught.value.message
        assert caught.value.cure or case["option"] in caught.value.message
        return
    made = spec.from_options(options)
    for path, expected in case["holds"].items():
        found: Any = made
        for name in path.split("."):
            found = getattr(found, name) if isinstance(found, BaseModel) else found[name]
        assert (str(found) if isinstance(found, Path) else found) == here(expected)
