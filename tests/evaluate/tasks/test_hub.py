"""Files of the hub are fetched once, checked, and never at the price of a leaked key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from moa.errors import UsageError
from moa.evaluate.tasks.hub import described, here, locate
from moa.spec.evaluation import BaselineSpec, SourceSpec

BODY = b'{"prompt": "Why?"}\n'
KEY = "hf_abcdefghij0123456789"


class Hub(ThreadingHTTPServer):
    """A hub with one file, which it may send from elsewhere, refuse, or cut short."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.asked: list[tuple[str, str | None]] = []
        self.status = 200
        self.elsewhere: str | None = None
        self.said = len(BODY)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Answering(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        """Send the file, a redirect to it, or the status that was set."""
        hub = self.server
        hub.asked.append((self.path, self.headers.get("Authorization")))
        if hub.elsewhere is not None and not self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", f"{hub.elsewhere}/moved")
            self.end_headers()
            return
        self.send_response(hub.status)
        self.send_header("Content-Length", str(hub.said))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""


@contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()
    thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running() as started:
        yield started


@pytest.fixture
def environ(hub: Hub, tmp_path: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": hub.url,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HF_HOME": str(tmp_path / "hf"),
    }


def source(**more: Any) -> SourceSpec:
    return SourceSpec.model_validate({"hub": "me/set", "file": "a b/test.jsonl"} | more)


def test_a_file_is_fetched_once(
    hub: Hub, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    for spec in (source(), source(), source(revision="refs/pr/1", sha256=digest)):
        [path] = locate(spec, None, environ)
        assert path.read_bytes() == BODY
        assert here(spec, None, environ) == (path,)
    assert [path for path, _ in hub.asked] == [
        "/datasets/me/set/resolve/main/a%20b/test.jsonl",
        "/datasets/me/set/resolve/refs%2Fpr%2F1/a%20b/test.jsonl",
    ]
    assert capsys.readouterr().err.count("moa: downloading a b/test.jsonl of me/set") == 2


def test_several_files_and_a_space(hub: Hub, environ: dict[str, str]) -> None:
    found = locate(source(hub="spaces/me/show", file=["x/d.jsonl", "y/d.jsonl"]), None, environ)
    assert [path.parent.name for path in found] == ["x", "y"]
    assert hub.asked[0][0] == "/spaces/me/show/resolve/main/x/d.jsonl"


def test_the_hubs_own_cache_is_used(hub: Hub, environ: dict[str, str]) -> None:
    kept = (
        Path(environ["HF_HOME"])
        / "hub"
        / "datasets--me--set"
        / "snapshots"
        / ("a" * 40)
        / "a b"
        / "test.jsonl"
    )
    kept.parent.mkdir(parents=True)
    kept.write_bytes(BODY)
    offline = environ | {"HF_HUB_OFFLINE": "1"}
    assert locate(source(), None, offline) == (kept,)
    assert locate(source(revision="a" * 40), None, offline) == (kept,)
    assert here(source(revision="b" * 40), None, offline) is None
    assert here(source(sha256="0" * 64), None, offline) is None
    assert hub.asked == []


def test_offline_says_what_to_download_and_how_to_give_it(hub: Hub, environ: dict[str, str]) -> None:
    with pytest.raises(UsageError) as refused:
        locate(source(), None, environ | {"HF_HUB_OFFLINE": "1"})
    assert str(refused.value) == (
        "a b/test.jsonl of me/set is not on this machine, and HF_HUB_OFFLINE is set: "
        f"download {hub.url}/datasets/me/set/resolve/main/a%20b/test.jsonl and give it with --data FILE"
    )
    baseline = BaselineSpec(name="old", hub="me/set", file="o.json")
    with pytest.raises(UsageError, match="name it as `path` under `baseline`"):
        locate(baseline, None, environ | {"HF_HUB_OFFLINE": "1"})


@pytest.mark.parametrize(
    ("status", "said"),
    [(404, "HTTP 404"), (500, "HTTP 500"), (401, "HTTP 401: accept its terms on the hub, and set HF_TOKEN")],
)
def test_a_refusal_is_one_line(hub: Hub, environ: dict[str, str], status: int, said: str) -> None:
    hub.status = status
    with pytest.raises(UsageError) as refused:
        locate(source(), None, environ | {"HF_TOKEN": KEY})
    assert f"cannot be downloaded ({said}): download http" in str(refused.value)
    assert KEY not in str(refused.value)
    assert here(source(), None, environ) is None


def test_a_hub_that_is_not_there_is_one_line(environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"cannot be downloaded .*give it with --data FILE"):
        locate(source(), None, environ | {"HF_ENDPOINT": "http://127.0.0.1:9"})


def test_another_file_than_the_pinned_one_is_refused_and_not_kept(
    environ: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="its SHA-256 is not the one that the evaluation names"):
        locate(source(sha256="0" * 64), None, environ)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_file_that_was_cut_short_is_not_kept(hub: Hub, environ: dict[str, str], tmp_path: Path) -> None:
    hub.said = len(BODY) + 10
    with pytest.raises(UsageError, match="cannot be downloaded"):
        locate(source(), None, environ)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_the_key_goes_to_the_hub_and_to_nobody_else(
    hub: Hub, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with running() as other:
        hub.elsewhere = other.url
        locate(source(), None, environ | {"HF_TOKEN": KEY})
        assert [key for _, key in hub.asked] == [f"Bearer {KEY}"]
        assert other.asked == [("/moved", None)]
    assert KEY not in "".join(capsys.readouterr())


def test_the_key_follows_the_hub_where_it_moved_a_file_on_itself(hub: Hub, environ: dict[str, str]) -> None:
    hub.elsewhere = hub.url
    locate(source(), None, environ | {"HF_TOKEN": KEY})
    assert [key for _, key in hub.asked] == [f"Bearer {KEY}"] * 2


def test_without_a_key_none_is_sent(hub: Hub, environ: dict[str, str]) -> None:
    locate(source(), None, environ)
    assert [key for _, key in hub.asked] == [None]


def test_a_source_is_described() -> None:
    assert described(source()) == "a b/test.jsonl of me/set on the Hugging Face hub"
    assert described(source(file=["a", "b", "c"])) == "a and 2 more files of me/set on the Hugging Face hub"
    assert described(SourceSpec(path="p.jsonl")) == "p.jsonl"
