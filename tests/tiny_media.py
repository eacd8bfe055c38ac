"""Tiny random models that hear, speak, see and draw, each made on the spot in a second or two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tiny import _tokenizer


def make_tiny_whisper(folder: str | Path, *, languages: tuple[str, ...] = ("en", "de", "zh")) -> Path:
    """Write a folder with a random Whisper: windows of 30 s, 24 tokens of text; without languages English only."""
    import torch
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import (
        AddedToken,
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )

    folder = Path(folder)
    vocabulary = {character: place for place, character in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = WhisperTokenizer({**vocabulary, "<|endoftext|>": len(vocabulary)}, [])
    tasks = ("translate", "transcribe")
    marks = ("startoftranscript", *languages, *tasks, "startoflm", "startofprev", "nospeech", "notimestamps")
    special = [f"<|{mark}|>" for mark in marks]
    tokenizer.add_special_tokens({"extra_special_tokens": special})
    tokenizer.add_tokens([AddedToken(f"<|{step * 0.02:.2f}|>") for step in range(1501)])
    ids = {mark: tokenizer.convert_tokens_to_ids(f"<|{mark}|>") for mark in marks}
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_mel_bins=80,
        max_target_positions=64,
        init_std=0.5,
        pad_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=ids["startoftranscript"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WhisperForConditionalGeneration(config)
    # Only letters are said; times as far as Whisper's own rules ask for them.
    model.generation_config = GenerationConfig(
        max_length=24,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=ids["startoftranscript"],
        no_timestamps_token_id=ids["notimestamps"],
        max_initial_timestamp_index=50,
        prev_sot_token_id=ids["startofprev"],
        suppress_tokens=[*ids.values(), *(p for c, p in vocabulary.items() if not (c.isascii() and c.isalpha()))],
        begin_suppress_tokens=[tokenizer.eos_token_id],
        is_multilingual=bool(languages),
        **({"lang_to_id": {f"<|{code}|>": ids[code] for code in languages}} if languages else {}),
        **({"task_to_id": {task: ids[task] for task in tasks}} if languages else {}),
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def make_tiny_vits(folder: str | Path, *, speakers: int = 1) -> Path:
    """Write a folder with a random VITS that reads lower-case letters, at 16 kHz."""
    import torch
    from transformers import VitsConfig, VitsModel, VitsTokenizer

    folder = Path(folder)
    folder.mkdir(parents=True)
    letters = ["<pad>", *"abcdefghijklmnopqrstuvwxyz ", "<unk>"]
    (folder / "vocab.json").write_text(json.dumps({letter: place for place, letter in enumerate(letters)}))
    tokenizer = VitsTokenizer(str(folder / "vocab.json"), language="eng", phonemize=False)
    config = VitsConfig(
        vocab_size=len(letters),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        flow_size=16,
        spectrogram_bins=9,
        upsample_initial_channel=16,
        upsample_rates=[8, 8],
        upsample_kernel_sizes=[16, 16],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1]],
        prior_encoder_num_flows=1,
        prior_encoder_num_wavenet_layers=1,
        posterior_encoder_num_wavenet_layers=1,
        duration_predictor_num_flows=1,
        duration_predictor_filter_channels=16,
        depth_separable_num_layers=1,
        num_speakers=speakers,
        speaker_embedding_size=8 if speakers > 1 else 0,
        sampling_rate=16_000,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VitsModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tiny_bark(folder: str | Path) -> Path:
    """Write a folder with a random Bark of 24 kHz that says up to 12 semantic tokens, and one preset voice."""
    import numpy as np
    import torch
    from transformers import BarkConfig, BarkModel, BarkProcessor, EncodecConfig

    folder = Path(folder)
    codes = 16
    sizes = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "block_size": 64}
    acoustic = {"input_vocab_size": 2 * codes + 80, "output_vocab_size": 2 * codes + 80}
    config = BarkConfig(
        semantic_config={**sizes, "input_vocab_size": 800, "output_vocab_size": 64},
        coarse_acoustics_config={**sizes, **acoustic},
        fine_acoustics_config={
            **sizes,
            "input_vocab_size": codes + 1,
            "output_vocab_size": codes,
            "n_codes_total": 4,
            "n_codes_given": 1,
        },
        codec_config=EncodecConfig(
            codebook_size=codes,
            codebook_dim=8,
            hidden_size=8,
            num_filters=4,
            upsampling_ratios=[8, 5, 4, 2],
            num_lstm_layers=1,
            target_bandwidths=[3.0],
        ).to_dict(),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BarkModel(config)
    model.save_pretrained(folder)
    said = {
        "semantic_config": {
            "eos_token_id": 40,
            "semantic_vocab_size": 40,
            "text_encoding_offset": 50,
            "text_pad_token": 798,
            "semantic_infer_token": 799,
            "max_input_semantic_length": 16,
            "max_new_tokens": 12,
            "do_sample": True,
        },
        "coarse_acoustics_config": {
            "coarse_semantic_pad_token": 40 + 2 * codes,
            "coarse_infer_token": 41 + 2 * codes,
            "max_coarse_input_length": 16,
            "max_coarse_history": 24,
            "sliding_window_len": 8,
            "do_sample": True,
        },
        "fine_acoustics_config": {"max_fine_history_length": 8, "max_fine_input_length": 64, "n_fine_codebooks": 4},
        "codebook_size": codes,
        "sample_rate": 24_000,
    }
    (folder / "generation_config.json").write_text(json.dumps(said))
    voices = folder / "speaker_embeddings"
    voices.mkdir()
    rng, preset = np.random.default_rng(0), {}
    for name, shape in {"semantic": (5,), "coarse": (2, 7), "fine": (4, 7)}.items():
        np.save(voices / f"{name}.npy", rng.integers(0, codes, shape))
        preset[f"{name}_prompt"] = f"speaker_embeddings/{name}.npy"
    table = {"repo_or_path": str(folder), "v2/en_speaker_6": preset}
    BarkProcessor(_tokenizer(640)).save_pretrained(folder)
    (folder / "speaker_embeddings_path.json").write_text(json.dumps(table))
    return folder


VISION_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tiny_vision(folder: str | Path, kind: str = "qwen2_vl") -> Path:
    """Write a folder with a random Qwen2-VL, LLaVA (`llava`) or Idefics3 (`idefics3`); 512 tokens.

    Qwen2-VL's patches have 4 x 4 pixels, four of them are a token.
    """
    import copy

    import torch
    import transformers
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    folder = Path(folder)
    tokenizer = copy.deepcopy(_tokenizer(640))
    tokenizer.chat_template = None
    marks = {
        "qwen2_vl": ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"],
        "llava": ["<image>"],
        "idefics3": ["<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>"],
    }[kind]
    tokenizer.add_special_tokens({"extra_special_tokens": marks}, replace_extra_special_tokens=False)
    ids = tokenizer.convert_tokens_to_ids(marks)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
    }
    vision = {"initializer_range": 0.2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 16}
    vision |= {"num_hidden_layers": 2, "image_size": 16, "patch_size": 4}
    config: Any
    processor: Any
    if kind == "qwen2_vl":
        rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
        names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
        config = transformers.Qwen2VLConfig(
            text_config={**text, "rope_parameters": rope},
            vision_config={
                "depth": 1,
                "embed_dim": 16,
                "num_heads": 2,
                "mlp_ratio": 2,
                "patch_size": 4,
                "hidden_size": 32,
            },
            **dict(zip(names, ids, strict=True)),
        )
        processor = Qwen2VLImageProcessorPil(patch_size=4, size={"shortest_edge": 64, "longest_edge": 1024})
        template = VISION_TEMPLATE.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    elif kind == "llava":
        config = transformers.LlavaConfig(
            text_config={**text, "model_type": "llama"},
            vision_config={**vision, "model_type": "clip_vision_model", "projection_dim": 16},
            image_token_id=ids[0],
        )
        images = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
        template = VISION_TEMPLATE.replace("IMAGE", "<image>")
        processor = transformers.LlavaProcessor(
            images, tokenizer, patch_size=4, vision_feature_select_strategy="default", num_additional_image_tokens=1
        )
    else:
        config = transformers.Idefics3Config(
            text_config={**text, "model_type": "llama"},
            vision_config=vision,
            image_token_id=ids[0],
            pad_token_id=tokenizer.pad_token_id,
        )
        sizes = {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 16}}
        template = VISION_TEMPLATE.replace("IMAGE", "<image>")
        processor = transformers.Idefics3Processor(Idefics3ImageProcessorPil(**sizes), tokenizer, image_seq_len=4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForImageTextToText.from_config(config).float()
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))], skip_special_tokens=True)
    with torch.no_grad():  # as in tests.tiny: what is not text is never said
        silent = [token for token, text in enumerate(texts) if not text or not text.isprintable() or "\ufffd" in text]
        model.lm_head.weight[[token for token in silent if token != tokenizer.eos_token_id]] = 0.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(template)
    return folder


def make_tiny_diffusion(folder: str | Path) -> Path:
    """Write a folder with a random Stable Diffusion that draws 16 x 16 pixels and reads 24 tokens."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer({word: place for place, word in enumerate(words)}, [], model_max_length=24)
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=24,
        eos_token_id=len(words) - 1,
        bos_token_id=len(words) - 2,
        pad_token_id=1,
    )
    blocks = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = StableDiffusionPipeline(
            vae=AutoencoderKL(
                block_out_channels=[8, 8],
                down_block_types=["DownEncoderBlock2D"] * 2,
                up_block_types=["UpDecoderBlock2D"] * 2,
                latent_channels=4,
                norm_num_groups=4,
            ),
            text_encoder=CLIPTextModel(text).eval(),
            tokenizer=tokenizer,
            unet=UNet2DConditionModel(
                sample_size=8,
                block_out_channels=(8, 16),
                layers_per_block=1,
                down_block_types=blocks[0],
                up_block_types=blocks[1],
                cross_attention_dim=16,
                attention_head_dim=2,
                norm_num_groups=4,
            ),
            scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder)
    return Path(folder)
