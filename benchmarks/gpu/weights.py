"""Folders with a model's configuration and a tokenizer, and no weights: engines draw those at random.

Random weights cost the same time as trained ones. Nothing is downloaded.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

SCALES: dict[str, dict[str, int]] = {
    "tiny": {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 256,
    },
    "1b": {
        "hidden_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 8192,
    },
    "8b": {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
    },
}
"""Shapes of a Llama of about that many parameters (without a large vocabulary)."""
WINDOW = 16_384
VOCABULARY = 8192
BEGIN, END = "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def model_folder(place: Path, scale: str, number: int = 0, *, drawn: bool = False) -> Path:
    """A folder that vLLM opens as a model of that scale with `load_format: dummy`.

    Models with another `number` are other models to every engine, of the same shape. With `drawn` the folder holds
    random weights as well (two bytes a parameter), for engines that cannot do without.
    """
    folder = place / f"{scale}-{number}"
    if not (folder / "config.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        size = _tokenizer(folder)
        (folder / "config.json").write_text(json.dumps(_config(scale, size, number), indent=1))
    if drawn and not any(folder.glob("*.safetensors")):
        _draw(folder)
    return folder


def _draw(folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.bfloat16)
    model.save_pretrained(folder)


def _config(scale: str, vocabulary: int, number: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "initializer_range": 0.02,
        "rope_theta": 500_000.0 + number,
        "max_position_embeddings": WINDOW,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vocab_size": vocabulary,
        "bos_token_id": 0,
        "eos_token_id": 1,
        **SCALES[scale],
    }


def _tokenizer(folder: Path) -> int:
    """Train a small byte-level tokenizer on made-up words; how many tokens it has."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_lines(), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    described = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "pad_token": END,
        "model_max_length": WINDOW,
        "chat_template": TEMPLATE,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(described, indent=1))
    # Engines take the size of the embedding from the configuration; GPUs like it round.
    return -(-tokenizer.get_vocab_size() // 64) * 64


def _lines() -> list[str]:
    draw = random.Random(0)
    syllables = [first + vowel for first in "bcdfghjklmnpqrstvwxyz" for vowel in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(20_000)]
    return [" ".join(draw.choices(words, k=12)) + "." for _ in range(8000)]


def questions(count: int, words: int = 40) -> list[str]:
    """Questions that begin differently, so that no cache knows them."""
    draw = random.Random(1)
    lines = _lines()
    return [f"{number} " + " ".join(draw.choice(lines).split()[:words]) for number in range(count)]
