"""Bytes to and from one server over aiohttp; what goes wrong on the way has a name."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO

from aiohttp import (
    BytesPayload,
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
from moa.values import value

CONNECT_SECONDS = 10.0
LARGE = 1 << 20
"""Bodies from here on are handed over as a file, so that writing one does not hold up the event loop."""
DRAIN_SECONDS = 0.25
"""How long the end of a stream that has said all may take before its connection is given up."""

Feed = Callable[[bytes], bool]
"""Takes in a chunk of a stream; true once the stream has said that it is over."""


@value(frozen=True, slots=True)
class Answer:
    """A whole HTTP reply; `body` is None for a stream, whose bytes went to the feed."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


def open_session(headers: Mapping[str, str] | None = None) -> ClientSession:
    """Connections for any number of backends; call it inside a running loop and close it there.

    `headers` are sent with every request. No limit on connections (limits are the engine's), no total timeout, no cookies.
    """
    return ClientSession(
        connector=TCPConnector(limit=0),
        timeout=ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        cookie_jar=DummyCookieJar(),
        headers=headers,
    )


class _Waiting:
    """A reply that is waited for, and the task that waits."""

    __slots__ = ("bytes", "cancelling", "idle", "response", "stalled", "task")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self.task = task
        self.cancelling = task.cancelling()
        self.response: ClientResponse | None = None
        self.bytes = 0
        self.idle = 0
        self.stalled = False

    def tick(self) -> None:
        """Interrupt the task once no byte has come for five ticks: after all four of them, at least."""
        arrived = self.response.content.total_bytes if self.response is not None else 0
        self.idle = 0 if arrived > self.bytes else self.idle + 1
        self.bytes = arrived
        if self.idle == 5 and not self.stalled:
            self.stalled = True
            self.task.cancel()

    def interrupted(self) -> bool:
        """Whether the task's cancellation is ours, and nobody else wants it; as in `asyncio.timeout`."""
        return self.stalled and self.task.uncancel() <= self.cancelling


class _StallWatch:
    """Ends replies from which no byte comes for some seconds (and at most a quarter more).

    One timer serves all replies of a server. aiohttp's `sock_read` sets a new one for each piece that is
    sent or read, which is a tenth of what a whole call costs.
    """

    def __init__(self, seconds: float) -> None:
        self._tick = seconds / 4
        self._waiting: set[_Waiting] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> _Waiting:
        task = asyncio.current_task()
        assert task is not None, "requests are made by tasks"
        waiting = _Waiting(task)
        self._waiting.add(waiting)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick, self._check)
        return waiting

    def end(self, waiting: _Waiting) -> None:
        self._waiting.discard(waiting)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        for waiting in tuple(self._waiting):
            waiting.tick()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._tick, self._check) if self._waiting else None


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
        self._watch = _StallWatch(stall)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session = session
        self._owned = session is None
        self._timeout = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        self._headers = {"Content-Type": "application/json", "User-Agent": f"moa/{__version__}"}
        if subject.secret:
            self._headers["Authorization"] = f"Bearer {subject.secret.reveal()}"
        self._proxy = proxy_for(URL(subject.url), environ)

    def post(self, url: URL, body: bytes) -> Awaitable[Answer]:
        """Send `body` and read the whole reply.

        Raises:
            BackendError: for what goes wrong on the way; an error status is an answer like any other.
        """
        return self._exchange("POST", url, body)

    async def get(self, url: URL, headers: Mapping[str, str] | None = None) -> Answer:
        """Fetch `url` with more `headers`, in which `{key}` stands for the key; raises as `post` does."""
        secret = self.subject.secret
        key = secret.reveal() if secret else ""
        more = {name: value.replace("{key}", key) for name, value in (headers or {}).items()}
        return await self._exchange("GET", url, None, more)

    async def stream(self, url: URL, body: bytes, feed: Feed) -> Answer:
        """Send `body`; an event stream is fed to `feed` as it arrives, any other reply is read whole.

        Raises as `post` does.
        """
        return await self._exchange("POST", url, body, feed=feed)

    async def aclose(self) -> None:
        """Close the connections, unless they are shared."""
        if self._loop is asyncio.get_running_loop():
            self._watch.close()
        if self._owned and self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _exchange(
        self,
        method: str,
        url: URL,
        body: bytes | None,
        more: Mapping[str, str] | None = None,
        feed: Feed | None = None,
    ) -> Answer:
        session = self._enter()
        waiting = self._watch.begin()
        try:
            response = waiting.response = await session.request(
                method,
                url,
                data=_payload(body),
                headers=self._sent(more),
                timeout=self._timeout,
                proxy=self._proxy,
                allow_redirects=False,
            )
            if feed is not None and response.status < 300 and response.content_type == "text/event-stream":
                await _pour(response, feed)
                return Answer(response.status, response.headers, None)
            # An interrupted `read` closes the connection, a whole one gives it back.
            return Answer(response.status, response.headers, await response.read())
        except (ClientError, OSError) as error:
            failed = self._explain(error)
        except asyncio.CancelledError:
            if not waiting.interrupted():
                raise
            failed = self._explain(TimeoutError())
        finally:
            self._watch.end(waiting)
            if feed is not None and waiting.response is not None:
                waiting.response.close()  # unless it was read to its end: then it has given its connection back
        raise failed

    def _sent(self, more: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """The headers of one request, beyond those that a session of our own sends with each."""
        return more if self._owned else {**self._headers, **(more or {})}

    def _enter(self) -> ClientSession:
        """Connections and timers belong to the event loop that made them: a new loop gets new ones."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._watch = loop, _StallWatch(self._stall)
            if self._owned:
                self._session = None
        if self._session is None:
            self._session = open_session(self._headers)
        return self._session

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
                f"{start} cannot find the host of {subject.url}; is the address right, and this machine online?"
            )
        if isinstance(error, ClientPayloadError):
            return ConnectionFailedError(
                f"{start} the connection to {subject.url} was cut in the middle of the reply"
            )
        if isinstance(error, ClientResponseError):
            return InvalidReplyError(f"{start} {subject.url} does not speak HTTP ({error.message})")
        said = f"{start} {_reason(error)}; is the server running at {subject.url}?"
        return ConnectionFailedError(said)


def _payload(body: bytes | None) -> BytesIO | BytesPayload | None:
    """The body as aiohttp sends it, without a search for what it might be."""
    if body is None:
        return None
    return BytesPayload(body) if len(body) < LARGE else BytesIO(body)


async def _pour(response: ClientResponse, feed: Feed) -> None:
    content = response.content
    while chunk := await content.readany():
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
