"""The small model's GGUF file as a folder of the kind that transformers and vLLM read."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

PLACES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
}
"""What llama.cpp calls a tensor, and what transformers calls it."""
SPECIAL = 3
"""The kind of a control token in a GGUF vocabulary."""


def unpack(gguf: Path, folder: Path) -> Path:
    """Write `folder` from a GGUF file of the Llama architecture, unless it is there; returns it.

    The folder appears whole or not at all.
    """
    if not (folder / "config.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch) / "model"
            made.mkdir()
            _write(gguf, made)
            try:
                made.replace(folder)
            except OSError:
                # Another process was faster.
                if not (folder / "config.json").is_file():
                    raise
    return folder


def _write(gguf: Path, folder: Path) -> None:
    from gguf import GGUFReader

    reader = GGUFReader(gguf)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    if fields["general.architecture"] != "llama" or fields["tokenizer.ggml.model"] != "gpt2":
        raise ValueError(f"{gguf}: only a Llama with a byte-level vocabulary can be unpacked")
    tied = _write_weights(reader.tensors, _heads(fields), folder)
    _write_json(folder / "config.json", _config(fields, tied))
    _write_tokenizer(fields, folder)


def _heads(fields: dict[str, Any]) -> dict[str, int]:
    return {
        "attn_q": fields["llama.attention.head_count"],
        "attn_k": fields["llama.attention.head_count_kv"],
    }


def _write_weights(tensors: Any, heads: dict[str, int], folder: Path) -> bool:
    """Write the weights in half precision; whether the output layer is the embedding's."""
    import numpy as np
    from gguf.quants import dequantize
    from safetensors.numpy import save_file

    weights = {}
    for tensor in tensors:
        name, kind = _named(tensor.name)
        values = dequantize(tensor.data, tensor.tensor_type)
        if kind in heads:
            values = _unrotated(values, heads[kind])
        weights[name] = np.ascontiguousarray(values, dtype=np.float16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return "lm_head.weight" not in weights


def _named(name: str) -> tuple[str, str]:
    """A tensor's name for transformers, and its kind."""
    *block, kind, _ = name.split(".")
    layer = f"model.layers.{block[1]}." if block else ""
    return f"{layer}{PLACES[kind]}.weight", kind


def _unrotated(values: Any, heads: int) -> Any:
    """Rows of each head from llama.cpp's order (pairs side by side) to transformers' (halves)."""
    rows, columns = values.shape
    return values.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _config(fields: dict[str, Any], tied: bool) -> dict[str, Any]:
    def told(name: str) -> Any:
        return fields[f"llama.{name}"]

    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": told("embedding_length"),
        "intermediate_size": told("feed_forward_length"),
        "num_hidden_layers": told("block_count"),
        "num_attention_heads": told("attention.head_count"),
        "num_key_value_heads": told("attention.head_count_kv"),
        "max_position_embeddings": told("context_length"),
        "rms_norm_eps": float(told("attention.layer_norm_rms_epsilon")),
        "rope_theta": float(told("rope.freq_base")),
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "tie_word_embeddings": tied,
        "hidden_act": "silu",
        "dtype": "float16",
        **_special_ids(fields),
    }


def _special_ids(fields: dict[str, Any]) -> dict[str, int]:
    return {f"{kind}_token_id": fields[f"tokenizer.ggml.{kind}_token_id"] for kind in ("bos", "eos")}


def _write_tokenizer(fields: dict[str, Any], folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    words, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [word for word, kind in zip(words, kinds, strict=True) if kind == SPECIAL]
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = _special_ids(fields)
    told = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": fields["llama.context_length"],
        "bos_token": words[ids["bos_token_id"]],
        "eos_token": words[ids["eos_token_id"]],
        "pad_token": words[ids["eos_token_id"]],
        "chat_template": fields["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
    }
    _write_json(folder / "tokenizer_config.json", told)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


if __name__ == "__main__":
    print(unpack(Path(sys.argv[1]), Path(sys.argv[2])))
