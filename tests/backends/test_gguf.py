"""The head of a GGUF file."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from moa.backends.gguf import NotGguf, read_header

Field = tuple[str, int, bytes]


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def number(key: str, value: int) -> Field:
    return key, 4, struct.pack("<I", value)


def array(key: str, kind: int, items: list[bytes]) -> Field:
    return key, 9, struct.pack("<IQ", kind, len(items)) + b"".join(items)


def gguf(path: Path, *fields: Field, version: int = 3) -> Path:
    head = b"GGUF" + struct.pack("<IQQ", version, 0, len(fields))
    body = b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in fields)
    path.write_bytes(head + body)
    return path


ARCHITECTURE = ("general.architecture", 8, text("llama"))
SHAPE = (
    number("llama.context_length", 2048),
    number("llama.block_count", 4),
    number("llama.embedding_length", 64),
    number("llama.attention.head_count", 8),
)


def test_reads_what_decides_how_a_model_is_run(tmp_path: Path) -> None:
    header = read_header(
        gguf(
            tmp_path / "a.gguf",
            ARCHITECTURE,
            ("general.name", 8, text("Tiny")),
            ("flag", 7, b"\1"),
            array("skipped.numbers", 6, [struct.pack("<f", 1.0)] * 5000),
            array("skipped.texts", 8, [text("word")] * 5000),
            *SHAPE,
            number("llama.attention.head_count_kv", 2),
        )
    )
    assert header == ("llama", "Tiny", 2048, 4 * 2 * (8 + 8) * 2)


def test_key_lengths_and_heads_may_differ(tmp_path: Path) -> None:
    kv_heads = array("llama.attention.head_count_kv", 5, [struct.pack("<i", one) for one in (1, 0, 2, 1)])
    lengths = (number("llama.attention.key_length", 16), number("llama.attention.value_length", 32))
    assert (
        read_header(gguf(tmp_path / "a", ARCHITECTURE, *SHAPE, kv_heads, *lengths)).token_bytes == 4 * 48 * 2
    )


def test_what_is_not_told_is_unknown(tmp_path: Path) -> None:
    header = read_header(gguf(tmp_path / "a", ARCHITECTURE))
    assert header.context is None and header.token_bytes > 0


def test_the_vocabulary_is_not_read(tmp_path: Path) -> None:
    path = gguf(tmp_path / "a", ARCHITECTURE, *SHAPE, ("tokenizer.ggml.model", 99, b""))
    assert read_header(path).context == 2048


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04", "it begins with b'PK"),
        (b"GGUF", "cut or damaged"),
        (b"GGUF" + struct.pack("<IQQ", 99, 0, 0), "version 99"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 40), "too long to be true"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 9) + b"abc", "ends inside its head"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<I", 77), "unknown type 77"),
    ],
)
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    with pytest.raises(NotGguf, match=said):
        read_header(path)
