"""What the head of a GGUF file says about its model; the tensors are not read."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_LONGEST_STRING = 1 << 26
_LONGEST_ARRAY = 4096
"""Longer arrays (the vocabulary) are passed over."""
_HALF = 2
"""Bytes of one value in the KV cache."""
_BYTES_UNKNOWN = 131_072
"""KV bytes of a token where the file does not tell: those of an 8B model."""

Value = int | float | bool | str | list["Value"] | None


class NotGguf(Exception):
    """The file is no GGUF, or its head is cut or damaged."""


class Header(NamedTuple):
    """The facts that decide how a model is run."""

    architecture: str
    name: str
    context: int | None
    """The window that the model was trained for, in tokens."""
    token_bytes: int
    """Bytes that one token takes in the KV cache."""


def read_header(path: Path) -> Header:
    """The header of `path`; raises `NotGguf` for another kind of file, `OSError` for an unreadable one."""
    with path.open("rb") as file:
        try:
            return _header(_fields(file))
        except (struct.error, UnicodeDecodeError, MemoryError) as error:
            raise NotGguf(f"its head is cut or damaged ({error})") from None


def _fields(file: BinaryIO) -> dict[str, Value]:
    magic = file.read(4)
    if magic != MAGIC:
        raise NotGguf(f"it begins with {magic!r}, not {MAGIC!r}" if magic else "it is empty")
    version, _tensors, count = _unpack(file, "IQQ")
    if not 2 <= version <= 16:
        raise NotGguf(f"its version {version} is not one that llama.cpp reads")
    fields: dict[str, Value] = {}
    for _ in range(count):
        key = _string(file)
        if key.startswith("tokenizer.") and "general.architecture" in fields:
            # By convention all that is wanted stands before the vocabulary, which is long.
            break
        fields[key] = _value(file, *_unpack(file, "I"))
    return fields


def _value(file: BinaryIO, kind: int) -> Value:
    if kind == _STRING:
        return _string(file)
    if kind != _ARRAY:
        return _scalar(file, kind)
    inner, length = _unpack(file, "IQ")
    if length <= _LONGEST_ARRAY:
        return [_value(file, inner) for _ in range(length)]
    if inner in _SCALARS:
        file.seek(length * struct.calcsize(f"<{_SCALARS[inner]}"), 1)
        return None
    for _ in range(length):
        _value(file, inner)
    return None


def _scalar(file: BinaryIO, kind: int) -> Value:
    if kind not in _SCALARS:
        raise NotGguf(f"a field has the unknown type {kind}")
    value: Value = _unpack(file, _SCALARS[kind])[0]
    return value


def _string(file: BinaryIO) -> str:
    (length,) = _unpack(file, "Q")
    if length > _LONGEST_STRING:
        raise NotGguf("a text in its head is too long to be true")
    raw = file.read(length)
    if len(raw) < length:
        raise NotGguf("it ends inside its head")
    return raw.decode("utf-8", "replace")


def _unpack(file: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(f"<{layout}", file.read(struct.calcsize(f"<{layout}")))


def _header(fields: dict[str, Value]) -> Header:
    architecture = str(fields.get("general.architecture", ""))
    context = fields.get(f"{architecture}.context_length")
    return Header(
        architecture,
        str(fields.get("general.name", "")),
        context if isinstance(context, int) and context > 0 else None,
        _token_bytes(fields, architecture),
    )


def _token_bytes(fields: dict[str, Value], architecture: str) -> int:
    """Layers x KV heads x (length of a key + of a value), at 16 bits each."""
    layers = _number(fields, f"{architecture}.block_count")
    heads = _number(fields, f"{architecture}.attention.head_count")
    width = _number(fields, f"{architecture}.embedding_length")
    if not (layers and heads and width):
        return _BYTES_UNKNOWN
    key = _number(fields, f"{architecture}.attention.key_length") or width // heads
    value = _number(fields, f"{architecture}.attention.value_length") or width // heads
    kv_heads = fields.get(f"{architecture}.attention.head_count_kv", heads)
    if isinstance(kv_heads, list):
        total = sum(one for one in kv_heads if isinstance(one, int))
    else:
        total = layers * (kv_heads if isinstance(kv_heads, int) else heads)
    return max(1, total * (key + value) * _HALF)


def _number(fields: dict[str, Value], key: str) -> int:
    """A count; the largest where it differs from layer to layer, 0 where it is missing."""
    value = fields.get(key)
    numbers = value if isinstance(value, list) else [value]
    return max((one for one in numbers if isinstance(one, int)), default=0)
