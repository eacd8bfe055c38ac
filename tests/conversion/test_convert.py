"""Conversions in this process: what comes out computes what went in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sqlllm.errors import ModelError, OptionError
from sqlllm.jobs.conversion import gguf_file
from sqlllm.jobs.conversion.convert import beside, load, write
from sqlllm.jobs.conversion.spec import _PLAIN, ALIASES, ConvertSpec
from tests.tiny import CORPUS, make_tiny_model
from tests.training import families

CASES = [json.loads(line) for line in (Path(__file__).with_name("options.jsonl")).read_text().splitlines()]
PROMPTS = ["What is the capital of France?", "select review from reviews", "12345 + 678", "你好，世界 and naïve"]  # noqa: RUF001


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with more query heads than key heads."""
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny", hidden=128)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["error"])
def test_a_wrong_option(case: dict[str, Any], tiny_model: Path, tmp_path: Path) -> None:
    def here(text: str) -> str:
        return text.replace("MODEL", str(tiny_model)).replace("NEW", str(tmp_path / "new"))

    with pytest.raises(OptionError) as caught:
        ConvertSpec.from_options({key: here(text) for key, text in case["options"].items()})
    assert caught.value.message == here(case["error"])
    assert case.get("cure", "") in caught.value.cure
    assert caught.value.key == case.get("key", "")


@pytest.mark.parametrize("form", ["hf", "gguf"])
def test_no_quantization_may_be_written(form: str) -> None:
    options = {"pretrainedModelType": "hf/auto", "modelNameOrPath": "x", "savePath": "y", "format": form}
    for text in ("", "none", "False"):
        assert ConvertSpec.from_options({**options, "quantization": text}, look=False).quantization == ""


def test_the_page_describes_every_option_in_its_own_words() -> None:
    page = (Path(__file__).parents[2] / "docs" / "training" / "convert.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    described = {cells[0].strip("`"): cells[1] for cells in rows if len(cells) == 2}
    for option, field in _PLAIN.items():
        assert described[option] == ConvertSpec.model_fields[field].description
    assert [alias for alias in ALIASES if f"`{alias}`" not in page] == []


def convert(to: Path, **options: Any) -> Path:
    options = {"pretrainedModelType": "hf/auto", "savePath": to, **options}
    write(ConvertSpec.from_options({key: str(value) for key, value in options.items()}))
    return to


def logits(folder: Path, **keys: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder, **keys)(torch.arange(10, 60).unsqueeze(0)).logits.float()


@pytest.mark.slow
def test_dtype_and_shards(model: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    to = convert(tmp_path / "new", modelNameOrPath=model, dtype="bfloat16", maxShardSize="200KB")
    assert len(list(to.glob("*.safetensors"))) > 1
    before, after = (AutoModelForCausalLM.from_pretrained(path) for path in (model, to))
    assert after.dtype == torch.bfloat16
    rounded = before.to(torch.bfloat16).state_dict()
    assert all(torch.equal(weight, rounded[name]) for name, weight in after.state_dict().items())
    assert not [path for path in tmp_path.iterdir() if path != to]


@pytest.fixture
def adapter(model: Path, tmp_path: Path) -> Path:
    """An adapter that changes much."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    torch.manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


BOTH = {"modelNameOrPath": "{base}", "adapterNameOrPath": "{adapter}"}
MANUAL = {"pretrainedModelType": "deepspeed/llama", "model_dir": "{base}", "checkpoint_dir": "{adapter}"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"action": "merge", "pretrainedModelType": "lora/llama", **BOTH},
        {"action": "merge", "model_name_or_path": "{base}", "adapter_name_or_path": "{adapter}", "save_path": "{to}"},
        {"action": "convert", **MANUAL},
        {"action": "merge", "adapterNameOrPath": "{adapter}"},
    ],
    ids=["merge", "its other spelling", "the manual's", "the base that the adapter names"],
)
def test_a_merged_model_computes_what_the_adapter_does(
    options: dict[str, str], model: Path, adapter: Path, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    to = tmp_path / "merged"
    given = {key: text.format(base=model, adapter=adapter, to=to) for key, text in options.items()}
    if "save_path" not in given:
        given["savePath"] = str(to)
    spec = ConvertSpec.from_options(given)
    assert spec.kind == "merge"
    write(spec)
    with torch.no_grad():
        adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), adapter)
        expected = adapted(torch.arange(10, 60).unsqueeze(0)).logits
    assert (logits(to) - expected).abs().max() < 1e-4
    assert (logits(model) - expected).abs().max() > 0.1


@pytest.mark.slow
def test_an_adapter_of_another_model(adapter: Path, tmp_path: Path) -> None:
    other = make_tiny_model(tmp_path / "other", hidden=64)
    folders = {"modelNameOrPath": other, "adapterNameOrPath": adapter, "savePath": tmp_path / "x"}
    spec = ConvertSpec.from_options({"action": "merge", **{key: str(folder) for key, folder in folders.items()}})
    with pytest.raises(ModelError, match="does not fit the model"):
        write(spec)
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("quantization", "far"), [("nf4", 0.12), ("fp4", 0.16), ("int8", 0.01)])
def test_fewer_bits_in_a_folder(quantization: str, far: float, model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    pytest.importorskip("bitsandbytes")
    to = convert(tmp_path / "small", modelNameOrPath=model, quantization=quantization)
    assert "quantization_config" in json.loads((to / "config.json").read_text())
    before = AutoModelForCausalLM.from_pretrained(model).state_dict()
    after = AutoModelForCausalLM.from_pretrained(to, device_map={"": "cpu"}).dequantize().state_dict()
    for name, weight in before.items():
        difference = (after[name].float() - weight).norm() / weight.norm()
        if name.endswith("proj.weight"):
            assert 0 < difference < far, name
        else:
            assert difference == 0, name


@pytest.mark.slow
def test_a_gguf_file_holds_the_models_tensors(model: Path, tmp_path: Path) -> None:
    import numpy as np
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = GGUFReader(convert(tmp_path / "model.gguf", modelNameOrPath=model, format="gguf"))
    found = {tensor.name: tensor.data for tensor in file.tensors}
    weights = {
        name: weight.numpy() for name, weight in AutoModelForCausalLM.from_pretrained(model).state_dict().items()
    }
    config = AutoModelForCausalLM.from_pretrained(model).config
    heads = {"q": config.num_attention_heads, "k": config.num_key_value_heads}

    def paired(weight: Any, count: int) -> Any:
        """Row by row: of each head, the two halves of a rotary pair become neighbours."""
        head = weight.shape[0] // count
        rows = [
            weight[number * head + half * head // 2 + pair]
            for number in range(count)
            for pair in range(head // 2)
            for half in range(2)
        ]
        return np.stack(rows)

    expected = {
        "token_embd.weight": "model.embed_tokens",
        "output_norm.weight": "model.norm",
        "output.weight": "lm_head",
    }
    for layer in range(config.num_hidden_layers):
        for theirs, ours in {
            "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
            "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
            "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
        }.items():  # fmt: skip
            expected[f"blk.{layer}.{theirs}.weight"] = f"model.layers.{layer}.{ours}"
    assert found.keys() == expected.keys()
    for name, ours in expected.items():
        weight = weights[f"{ours}.weight"]
        if kind := next((kind for kind in heads if f"attn_{kind}." in name), None):
            weight = paired(weight, heads[kind])
        np.testing.assert_array_equal(found[name], weight, err_msg=name)

    def field(name: str) -> Any:
        return file.fields[name].contents()

    tokenizer = AutoTokenizer.from_pretrained(model)
    assert field("tokenizer.ggml.tokens") == tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    assert field("tokenizer.ggml.pre") == "smollm"
    assert field("tokenizer.ggml.eos_token_id") == tokenizer.eos_token_id
    assert field("tokenizer.chat_template") == tokenizer.chat_template
    assert (field("llama.context_length"), field("llama.attention.head_count_kv")) == (512, 1)


@pytest.mark.slow
def test_a_qwen2_keeps_its_rows_biases_and_tokenizer(model: Path, tmp_path: Path) -> None:
    import numpy as np
    from gguf import GGUFReader
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    sizes = {"vocab_size": 640, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
    qwen = Qwen2ForCausalLM(Qwen2Config(**sizes, num_attention_heads=2, num_key_value_heads=1))
    qwen.save_pretrained(tmp_path / "qwen")
    AutoTokenizer.from_pretrained(model).save_pretrained(
        tmp_path / "qwen"
    )  # read as Qwen2's own, which composes accents
    file = GGUFReader(convert(tmp_path / "qwen.gguf", modelNameOrPath=tmp_path / "qwen", format="gguf"))
    found = {tensor.name: tensor.data for tensor in file.tensors}
    for theirs, ours in {"attn_q.weight": "q_proj.weight", "attn_k.bias": "k_proj.bias"}.items():
        weight = qwen.state_dict()[f"model.layers.0.self_attn.{ours}"].numpy()
        np.testing.assert_array_equal(found[f"blk.0.{theirs}"], weight)
    assert file.fields["tokenizer.ggml.pre"].contents() == "qwen2"


@pytest.mark.slow
@pytest.mark.parametrize(("quantization", "far"), [("q8_0", 0.01), ("q4_0", 0.15)])
def test_fewer_bits_in_a_gguf_file(quantization: str, far: float, model: Path, tmp_path: Path) -> None:
    import numpy as np
    from gguf import GGUFReader, quants
    from transformers import AutoModelForCausalLM

    to = convert(tmp_path / "small.gguf", modelNameOrPath=model, format="gguf", quantization=quantization)
    tensor = next(one for one in GGUFReader(to).tensors if one.name == "blk.0.ffn_up.weight")
    expected = AutoModelForCausalLM.from_pretrained(model).state_dict()["model.layers.0.mlp.up_proj.weight"].numpy()
    difference = np.abs(quants.dequantize(tensor.data, tensor.tensor_type) - expected).max() / np.abs(expected).max()
    assert 0 < difference < far


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "qwen3", "gemma", "gemma2", "gemma3", "llama3", "pieces"])
def test_llama_cpp_says_what_transformers_says(name: str, model: Path, tmp_path: Path) -> None:
    import httpx
    import xllamacpp
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made = {"tiny": lambda: model, "llama3": lambda: slowed(model, tmp_path), "pieces": lambda: pieces(tmp_path)}
    folder = made[name]() if name in made else families.make(name, tmp_path / name, dtype="float32", wide=0.4)
    params = xllamacpp.CommonParams()
    params.model.path = str(convert(tmp_path / "model.gguf", modelNameOrPath=folder, format="gguf"))
    params.n_ctx, params.cpuparams.n_threads, params.verbosity = 256, 1, 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)
    tokenizer, ours = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    compared = 0
    for prompt in PROMPTS:
        inputs = tokenizer(prompt, return_tensors="pt")
        asked = {"content": prompt, "add_special": True, "parse_special": True}
        tokens = httpx.post(f"{server.listening_address}/tokenize", json=asked).json()["tokens"]
        assert tokens == inputs["input_ids"][0].tolist()
        told = ours.generate(
            **inputs, max_new_tokens=24, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
        answer, sure = told.sequences[0, inputs["input_ids"].shape[1] :], certain(told.logits)
        sure = min(sure, len(answer) - int(answer[-1] == tokenizer.eos_token_id))  # llama.cpp leaves the end out
        said = httpx.post(
            f"{server.listening_address}/completion",
            json={"prompt": tokens, "n_predict": 24, "temperature": 0.0, "return_tokens": True},
        ).json()["tokens"]
        assert said[:sure] == answer[:sure].tolist()
        compared += sure
    assert compared > 10


def certain(logits: tuple[Any, ...]) -> int:
    """How many tokens stand before one whose second choice is as near as rounding may bring it."""
    for number, each in enumerate(logits):
        first, second = each[0].topk(2).values.tolist()
        if first - second < 2e-3 * max(1.0, abs(first)):
            return number
    return len(logits)


def slowed(model: Path, home: Path) -> Path:
    """A Llama whose positions are slowed down as those of 3.1 are."""
    folder = shutil.copytree(model, home / "slowed")
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = {
        "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def pieces(home: Path) -> Path:
    """A Llama with SentencePiece's tokenizer, as Llama 2 and Mistral have."""
    import sentencepiece
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaTokenizer

    (home / "pieces").mkdir()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_prefix=str(home / "pieces" / "tokenizer"), vocab_size=420,
        byte_fallback=True, model_type="bpe", hard_vocab_limit=False, minloglevel=2, normalization_rule_name="identity",
        remove_extra_whitespaces=False,
    )  # fmt: skip
    tokenizer = LlamaTokenizer.from_pretrained(home / "pieces")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=256, initializer_range=0.4,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(home / "folder")
    tokenizer.save_pretrained(home / "folder")
    return home / "folder"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model, tokenizer: setattr(model.config, "model_type", "gpt_neox"), "of the type gpt_neox"),
        (lambda model, tokenizer: model.config.rope_parameters.update(rope_type="yarn"), "scaled by yarn"),
        (
            lambda model, tokenizer: setattr(tokenizer.backend_tokenizer, "pre_tokenizer", whitespace()),
            "llama.cpp would cut texts otherwise",
        ),
    ],
    ids=["architecture", "positions", "tokenizer"],
)
def test_what_gguf_does_not_hold(change: Callable[[Any, Any], None], message: str, model: Path, tmp_path: Path) -> None:
    options = {"pretrainedModelType": "hf/auto", "modelNameOrPath": str(model), "savePath": str(tmp_path / "x.gguf")}
    loaded, tokenizer = load(ConvertSpec.from_options(options))
    change(loaded, tokenizer)
    with pytest.raises(ModelError, match=message):
        gguf_file.write(loaded, tokenizer, tmp_path / "x.gguf")


def whitespace() -> Any:
    from tokenizers.pre_tokenizers import Whitespace

    return Whitespace()


def test_what_was_made_meanwhile_stays(tmp_path: Path) -> None:
    def late() -> None:
        with beside(tmp_path / "model.gguf") as part:
            part.write_text("late")
            (tmp_path / "model.gguf").write_text("early")

    with pytest.raises(ModelError, match="was made meanwhile"):
        late()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["early"]


def test_nothing_half_written_is_there(tmp_path: Path) -> None:
    def fail() -> None:
        with beside(tmp_path / "model") as part:
            part.mkdir()
            (part / "model.safetensors").write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert list(tmp_path.iterdir()) == []
