"""The files of an evaluation: beside it, here, in a cache, or on the Hugging Face hub."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from moa.backends.weights import CONNECT_SECONDS, cache_dir, hub_cache, is_offline
from moa.errors import UsageError
from moa.spec.evaluation import BaselineSpec, SourceSpec


def locate(
    source: SourceSpec, near: Path | None, environ: Mapping[str, str] = os.environ
) -> tuple[Path, ...]:
    """The files that hold the rows, fetched from the hub where they are not on this machine.

    Args:
        source: Where the rows come from.
        near: The evaluation's own file or folder, from which paths are meant before they are meant from here.
        environ: Where caches (`HF_HOME`, `XDG_CACHE_HOME`), the hub (`HF_ENDPOINT`) and the key to it (`HF_TOKEN`)
            are named; `HF_HUB_OFFLINE` forbids to fetch.

    Raises:
        UsageError: for a file that is nowhere; says which one, and the option that names another.
    """
    if source.path is not None:
        return (_local(source, source.path, near),)
    return tuple(_known(source, file, environ) or _fetched(source, file, environ) for file in source.files)


def here(
    source: SourceSpec, near: Path | None, environ: Mapping[str, str] = os.environ
) -> tuple[Path, ...] | None:
    """The files that hold the rows where all of them are on this machine; nothing is fetched."""
    if source.path is not None:
        found = _beside(source.path, near)
        return (found,) if found else None
    known = [_known(source, file, environ) for file in source.files]
    return tuple(path for path in known if path) if all(known) else None


def described(source: SourceSpec) -> str:
    """Where the rows come from, in words."""
    if source.path is not None:
        return source.path
    first, *others = source.files
    more = f" and {len(others)} more files" if others else ""
    return f"{first}{more} of {source.hub} on the Hugging Face hub"


def _beside(name: str, near: Path | None) -> Path | None:
    path = Path(os.path.expanduser(name))  # noqa: PTH111 - Path.expanduser raises for an unknown user
    folder = near if near is None or near.is_dir() else near.parent
    places = [place / path for place in (folder, Path()) if place is not None]
    return next((_short(place) for place in places if place.is_file()), None)


def _short(path: Path) -> Path:
    """The path from here where it is below: errors name it."""
    working = Path.cwd()
    return path.relative_to(working) if path.is_absolute() and path.is_relative_to(working) else path


def _local(source: SourceSpec, name: str, near: Path | None) -> Path:
    found = _beside(name, near)
    if found is None:
        raise UsageError(f"no file {name}: get one and {_instead(source)}")
    return found


def _instead(source: SourceSpec) -> str:
    """What a user can do about a file that is nowhere."""
    if isinstance(source, BaselineSpec):
        return "name it as `path` under `baseline` in a copy of the evaluation, or compare with an entrant (--baseline)"
    return "give it with --data FILE"


def _known(source: SourceSpec, file: str, environ: Mapping[str, str]) -> Path | None:
    """The file in our own cache, or in the hub's, where it is the right one."""
    folder = hub_cache(environ) / f"{_kind(source)}--{_name(source).replace('/', '--')}" / "snapshots"
    own = _own(source, file, environ)
    if own.is_file():
        return own
    revision = folder / source.revision / file
    others = (
        [revision] if revision.is_file() else sorted(folder.glob(f"*/{file}")) if _follows(source) else []
    )
    return next((path for path in others if source.sha256 in (None, _sha256(path))), None)


def _follows(source: SourceSpec) -> bool:
    """Whether any snapshot will do: the revision is a branch, not a commit."""
    return source.sha256 is not None or len(source.revision) != 40


def _kind(source: SourceSpec) -> str:
    return "spaces" if (source.hub or "").startswith("spaces/") else "datasets"


def _name(source: SourceSpec) -> str:
    return (source.hub or "").removeprefix("spaces/")


def _own(source: SourceSpec, file: str, environ: Mapping[str, str]) -> Path:
    return cache_dir(environ) / _kind(source) / _name(source) / source.revision.replace("/", "-") / file


def _url(source: SourceSpec, file: str, environ: Mapping[str, str]) -> str:
    root = (environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    return f"{root}/{_kind(source)}/{_name(source)}/resolve/{quote(source.revision, safe='')}/{quote(file)}"


def _fetched(source: SourceSpec, file: str, environ: Mapping[str, str]) -> Path:
    url, target = _url(source, file, environ), _own(source, file, environ)
    remedy = f"download {url} and {_instead(source)}"
    if is_offline(environ):
        raise UsageError(
            f"{file} of {source.hub} is not on this machine, and HF_HUB_OFFLINE is set: {remedy}"
        )
    print(f"moa: downloading {file} of {source.hub} to {target.parent}", file=sys.stderr)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(_request(url, environ), target, source.sha256)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise UsageError(f"{file} of {source.hub} cannot be downloaded ({_said(error)}): {remedy}") from None
    return target


def _said(error: Exception) -> str:
    if isinstance(error, HTTPError) and error.code in (401, 403):
        return f"HTTP {error.code}: accept its terms on the hub, and set HF_TOKEN"
    if isinstance(error, HTTPError):
        return f"HTTP {error.code}"
    return str(error.reason if isinstance(error, URLError) else error) or type(error).__name__


def _request(url: str, environ: Mapping[str, str]) -> Request:
    request = Request(url, headers={"User-Agent": "moa"})
    if token := environ.get("HF_TOKEN", "").strip():
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return request


class _SameHost(HTTPRedirectHandler):
    """Takes the key along where the hub sends us elsewhere on itself, and never to another host."""

    def redirect_request(self, req: Request, *args: object) -> Request | None:
        """The next request."""
        following = super().redirect_request(req, *args)  # type: ignore[arg-type]
        key = req.unredirected_hdrs.get("Authorization")
        if following is not None and key and _origin(following.full_url) == _origin(req.full_url):
            following.add_unredirected_header("Authorization", key)
        return following


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _download(request: Request, target: Path, sha256: str | None) -> None:
    """Download to a neighbour of `target` and move it there once it is known to be whole."""
    handle, name = tempfile.mkstemp(dir=target.parent, suffix=".part")
    part = Path(name)
    try:
        with (
            os.fdopen(handle, "wb") as file,
            build_opener(_SameHost).open(request, timeout=CONNECT_SECONDS) as reply,
        ):
            shutil.copyfileobj(reply, file, 1 << 20)
            expected = reply.headers.get("Content-Length")
        if expected is not None and part.stat().st_size != int(expected):
            raise ValueError("it was cut short")
        if sha256 is not None and _sha256(part) != sha256:
            raise ValueError("its SHA-256 is not the one that the evaluation names")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
