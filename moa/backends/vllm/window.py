"""A model's context window from its folder, without starting anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_sequence_length",
)
_PLAIN = frozenset({"default", "llama3", "mrope", "su", "longrope"})
"""Kinds of rotary embeddings with which the configured length is the whole length."""


def stated_window(model: str) -> int | None:
    """The context window that the model's files state, in tokens; None where they leave it to the engine.

    A model of the hub is looked up in the cache; nothing is downloaded.
    """
    config = _read(model, "config.json")
    if config is None:
        return None
    text = config.get("text_config")
    fields = {**config, **(text if isinstance(text, Mapping) else {})}
    if not _is_plain(fields):
        return None
    lengths = [fields[name] for name in _LENGTHS if isinstance(fields.get(name), int)]
    longest = (_read(model, "tokenizer_config.json") or {}).get("model_max_length")
    if isinstance(longest, int):
        lengths.append(longest)
    return min(lengths, default=None)


def _is_plain(fields: Mapping[str, Any]) -> bool:
    for name in ("rope_scaling", "rope_parameters"):
        scaling = fields.get(name)
        if (
            isinstance(scaling, Mapping)
            and scaling.get("rope_type", scaling.get("type", "default")) not in _PLAIN
        ):
            return False
    return True


def _read(model: str, name: str) -> Mapping[str, Any] | None:
    path = Path(model).expanduser() / name
    if not path.is_file():
        cached = _cached(model, name)
        if cached is None:
            return None
        path = cached
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # The engine meets the same trouble, and says what it is.
        return None
    return told if isinstance(told, dict) else None


def _cached(model: str, name: str) -> Path | None:
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return None
    try:
        found = try_to_load_from_cache(model, name)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None
