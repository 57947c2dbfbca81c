"""Keys in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from moa.errors import UsageError
from moa.serve.keys import Keys

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"


def read(folder: Path, text: str | bytes) -> Keys:
    path = folder / "keys"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return Keys.read(path)


def test_a_line_is_a_name_and_a_key(tmp_path: Path) -> None:
    keys = read(tmp_path, f"# who\nann {KEY}\n\n  {OTHER}  \n")
    ann, other = keys.tenant(KEY), keys.tenant(OTHER)
    assert ann is not None and other is not None and keys.needed
    assert (ann.name, other.name) == ("ann", "key-4")
    assert keys.tenant(KEY[:-1]) is None and keys.tenant("") is None and keys.tenant("\ud800") is None
    assert KEY not in repr(vars(keys))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("# only words\n", id="no key"),
        pytest.param("ann 0123456789\n", id="short"),
        pytest.param(f"ann {KEY} more\n", id="three words"),
        pytest.param(f"a/b {KEY}\n", id="no name"),
        pytest.param(f"ann {KEY}\nbob {KEY}\n", id="one key twice"),
        pytest.param(f"ann {KEY}\nann {OTHER}\n", id="one name twice"),
        pytest.param(b"ann \xff\xfe0123456789abcdef\n", id="not text"),
        pytest.param(f"ann {KEY}é\n", id="not plain"),
    ],
)
def test_a_bad_file_is_refused_without_showing_a_key(text: str | bytes, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--api-key-file") as refused:
        read(tmp_path, text)
    assert KEY not in str(refused.value) and "0123456789" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        Keys.read(tmp_path / "none")
