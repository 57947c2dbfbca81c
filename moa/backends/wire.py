"""Bytes to and from one server over aiohttp; what goes wrong on the way has a name."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import NamedTuple

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorSSLError,
    ClientError,
    ClientPayloadError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
)
from yarl import URL

from moa import __version__
from moa.backends.failures import Subject
from moa.backends.providers import LOOPBACK
from moa.errors import BackendError, BackendTimeoutError, ConnectionFailedError, InvalidReplyError

CONNECT_SECONDS = 10.0
LARGE = 1 << 20
"""Bodies from here on are handed over as a file, so that writing one does not hold up the event loop."""
DRAIN_SECONDS = 0.25
"""How long the end of a stream that has said all may take before its connection is given up."""

Feed = Callable[[bytes], bool]
"""Takes in a chunk of a stream; true once the stream has said that it is over."""


class Answer(NamedTuple):
    """A whole HTTP reply; `body` is None for a stream, whose bytes went to the feed."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


def open_session() -> ClientSession:
    """Connections for any number of backends; call it inside a running loop and close it there.

    No limit on connections (limits are the engine's), no total timeout, no cookies.
    """
    return ClientSession(
        connector=TCPConnector(limit=0),
        timeout=ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        cookie_jar=DummyCookieJar(),
    )


class Wire:
    """One server's connection settings, prepared once.

    Args:
        subject: Whom errors are about; its secret is sent as a bearer token.
        stall: Seconds without a byte after which a reply counts as stalled.
        session: Shared connections; the caller closes them. Without it there are own ones.
        environ: Where proxies are named.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        stall: float,
        session: ClientSession | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.subject = subject
        self._stall = stall
        self._session = session
        self._owned = session is None
        self._timeout = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=stall)
        self._headers = {"Content-Type": "application/json", "User-Agent": f"moa/{__version__}"}
        if subject.secret:
            self._headers["Authorization"] = f"Bearer {subject.secret.reveal()}"
        self._proxy = proxy_for(URL(subject.url), environ)

    async def post(self, url: URL, body: bytes, feed: Feed | None = None) -> Answer:
        """Send `body`; with `feed`, an event stream is fed to it as it arrives.

        Raises:
            BackendError: for what goes wrong on the way; an error status is an answer like any other.
        """
        return await self._ask("POST", url, body, feed)

    async def get(self, url: URL) -> Answer:
        """Fetch `url`; raises as `post` does."""
        return await self._ask("GET", url, None, None)

    async def aclose(self) -> None:
        """Close the connections, unless they are shared."""
        if self._owned and self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _ask(self, method: str, url: URL, body: bytes | None, feed: Feed | None) -> Answer:
        if self._session is None:
            self._session = open_session()
        data = BytesIO(body) if body is not None and len(body) >= LARGE else body
        response: ClientResponse | None = None
        try:
            response = await self._session.request(
                method,
                url,
                data=data,
                headers=self._headers,
                timeout=self._timeout,
                proxy=self._proxy,
                allow_redirects=False,
            )
            if feed is None or response.status >= 300 or response.content_type != "text/event-stream":
                return Answer(response.status, response.headers, await response.read())
            await _pour(response, feed)
            return Answer(response.status, response.headers, None)
        except (ClientError, OSError) as error:
            failed = self._explain(error)
        finally:
            # A reply that was read to its end has given its connection back already.
            if response is not None:
                response.close()
        raise failed

    def _explain(self, error: Exception) -> BackendError:
        """Our error for aiohttp's, which is not chained: it may hold the request's headers."""
        subject = self.subject
        start = f"{subject.name}:"
        if isinstance(error, ConnectionTimeoutError):
            said = f"{start} no connection to {subject.url} within {CONNECT_SECONDS:g} s; is the server running there?"
            return BackendTimeoutError(said)
        if isinstance(error, TimeoutError):
            return BackendTimeoutError(f"{start} no byte from {subject.url} for {self._stall:g} s")
        if isinstance(error, ClientConnectorCertificateError | ClientConnectorSSLError):
            said = f"{start} no secure connection to {subject.url}: its certificate is not trusted here"
            return ConnectionFailedError(said, retryable=False)
        if isinstance(error, ClientConnectorDNSError):
            return ConnectionFailedError(
                f"{start} cannot find the host of {subject.url}; is the address right?"
            )
        if isinstance(error, ClientPayloadError):
            return ConnectionFailedError(
                f"{start} the connection to {subject.url} was cut in the middle of the reply"
            )
        if isinstance(error, ClientResponseError):
            return InvalidReplyError(f"{start} {subject.url} does not speak HTTP ({error.message})")
        said = (
            f"{start} cannot reach {subject.url} ({_reason(error)}); is the server running at {subject.url}?"
        )
        return ConnectionFailedError(said)


async def _pour(response: ClientResponse, feed: Feed) -> None:
    content = response.content
    async for chunk in content.iter_any():
        if feed(chunk):
            break
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while not content.at_eof():
                await content.readany()
    except (TimeoutError, ClientError):
        # All has been said; only the connection is lost for the next request.
        pass


def _reason(error: Exception) -> str:
    if isinstance(error, ServerDisconnectedError):
        return "the connection was closed before the reply"
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number).lower() if number and number > 0 else type(error).__name__


def proxy_for(url: URL, environ: Mapping[str, str] = os.environ) -> URL | None:
    """The proxy that the environment names for `url`; never for this machine itself."""
    host = url.host or ""
    if host in LOOPBACK or host.startswith("127."):
        return None
    named = {
        name.lower(): value for name, value in environ.items() if name.lower().endswith("_proxy") and value
    }
    found = named.get(f"{url.scheme}_proxy") or named.get("all_proxy")
    return None if not found or _bypassed(host, named.get("no_proxy", "")) else URL(found)


def _bypassed(host: str, exceptions: str) -> bool:
    """Whether `no_proxy` (hosts, domains with or without a leading dot, or `*`) names `host`."""
    names = [name.strip().lower().lstrip(".") for name in exceptions.split(",")]
    return "*" in names or any(name and f".{host}".endswith(f".{name}") for name in names)
