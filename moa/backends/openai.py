"""Any server with the OpenAI API: hosted providers, vLLM, llama.cpp, Ollama, LM Studio."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from pydantic_core import PydanticSerializationError, to_json
from yarl import URL

from moa.backends.base import LABELS, Choice, Completion, Delta, Emit, Message, Prompt, Request
from moa.backends.counting import Counter, listed_window
from moa.backends.failures import Refused, Subject, failure, read_error
from moa.backends.labels import TOKEN_IDS, LabelTokens
from moa.backends.options import read_options
from moa.backends.providers import endpoint
from moa.backends.quirks import Quirks
from moa.backends.redact import Secret
from moa.backends.replies import Gathering, Malformed, parse, read_completion
from moa.backends.sleeping import beside, lay_down, wake_up
from moa.backends.wire import Answer, Wire
from moa.errors import (
    BackendError,
    BackendTimeoutError,
    ContentFilteredError,
    InvalidReplyError,
    ModelNotFoundError,
    UsageError,
)
from moa.spec.agent import Spec
from moa.spec.model import ModelSpec

if TYPE_CHECKING:
    from aiohttp import ClientSession

LESSONS = 12
"""Refusals that one request may learn from before the last of them stands."""
PROBE_SECONDS = 10.0
"""How long the server may take to describe its models."""
_ENGINE_FIELDS = frozenset({"n", "stream", "stream_options", "model", "messages", LABELS})
"""Fields that are ours to set; in `params` they would break the count of choices or the reading."""

_slow_encoder = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False)


class HttpOptions(Spec):
    """`options` of a model that is asked over HTTP."""

    stall: float = Field(600.0, gt=0)
    """Seconds without a byte after which a reply counts as stalled."""
    priority: bool = False
    """Send each request's distance to the answer as vLLM's `priority` (needs its priority scheduling)."""
    sleep: Literal[1, 2] | None = None
    """The level of vLLM's sleep mode in which the engine rests while another model of its device is asked."""
    known_as: str = Field("", max_length=4096)
    """What the store knows the model by in the place of its address, where the address may change."""


class OpenAICompatible:
    """A model behind an OpenAI-compatible HTTP API; one attempt per call.

    What the server does not take (several choices, a seed, a temperature, the name of a field) is learnt
    from its refusals, once; `notes` tells what that changes.

    Args:
        spec: The model. Its key is read from the environment at the first request.
        session: Shared connections (see `moa.backends.wire.open_session`), closed by the caller.
        environ: Where keys and addresses are looked up.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        session: ClientSession | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.spec = spec
        self.name = spec.name or spec.model or spec.base_url or ""
        self._endpoint = endpoint(spec, environ)
        self._options = read_options(HttpOptions, spec)
        self._session = session
        self._environ = environ
        root = self._root = URL(self._endpoint.base_url)
        self._chat, self._models = joined(root, "chat/completions"), joined(root, "models")
        preset = self._endpoint.preset
        self._quirks = Quirks(self.name, preset, official=self._endpoint.base_url == preset.base_url)
        self._wire: Wire | None = None
        self._counter: Counter | None = None
        self._labels: LabelTokens | None = None
        self._model = spec.model
        self._window: int | None = spec.context
        self._listed: list[Mapping[str, Any]] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def notes(self) -> tuple[str, ...]:
        """What the user should know about this server, such as a sampling field that it does not take."""
        return self._quirks.notes()

    def most(self, params: Mapping[str, Any]) -> int | None:
        """The largest `n` that one HTTP request carries, as far as is known; more are sent side by side."""
        return self._quirks.most(params)

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """Ask for `request.n` samples; with `emit`, as streams.

        Raises:
            BackendError: one line that names the model and what to do.
        """
        if request.timeout is None:
            return self._checked(request, await self._complete(request, emit))
        try:
            async with asyncio.timeout(request.timeout):
                return self._checked(request, await self._complete(request, emit))
        except TimeoutError:
            pass
        raise BackendTimeoutError(f"{self.name}: no whole reply within {request.timeout:g} s")

    @property
    def wire(self) -> Wire:
        """The way to the server, for what the chat API does not cover."""
        return self._wire or self._connected()

    @property
    def sleeps(self) -> bool:
        """Whether the engine rests while another model of its device is asked."""
        return self._options.sleep is not None

    async def rest(self) -> None:
        """Let the engine sleep, so that another has the device's memory; nothing without the option `sleep`."""
        if self._options.sleep is not None:
            await lay_down(self.wire, self._root, self._options.sleep)

    async def wake(self) -> None:
        """Wake the engine and wait until it is awake; nothing without the option `sleep`."""
        if self._options.sleep is not None:
            await wake_up(self.wire, self._root, self._options.sleep)

    async def aclose(self) -> None:
        """Close the connections, unless they are shared."""
        if self._wire is not None:
            await self._wire.aclose()

    async def model_id(self) -> str:
        """The model's id; where the spec has none, the server's only model."""
        if not self._model:
            ids = [str(model.get("id")) for model in await self.models()]
            if len(ids) != 1:
                found = f"has {len(ids)} models ({', '.join(ids[:8])})" if ids else "lists no model"
                raise ModelNotFoundError(f"{self.name}: the server {found}; name one: {self.name}#MODEL")
            self._model = ids[0]
        return self._model

    async def models(self) -> list[Mapping[str, Any]]:
        """The models that the server lists, as it describes them."""
        preset = self._endpoint.preset
        return read_models_list(await self._get(self._models, preset.listing_headers))

    async def check_key(self) -> None:
        """Ask the server whether it takes the key, where its list of models is open to all."""
        path = self._endpoint.preset.check
        if path is not None:
            await self._get(joined(URL(self._endpoint.base_url), path))

    async def ask(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON reply of another part of the API, such as `embeddings`; raises as `complete` does.

        A path with a slash before it, such as `/classify`, stands beside the API, not below `/v1`.
        """
        url = beside(self._root, path[1:]) if path.startswith("/") else joined(self._root, path)
        try:
            return self._read(await self._connected().post(url, _json(body)))
        except Refused as refused:
            error = self._failure(refused)
        raise error

    async def context_length(self) -> int | None:
        """The context window in tokens: as configured, or as the server says; asked at most once."""
        if self._window is None and self._listed is None:
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    self._listed = await self.models()
            except (BackendError, TimeoutError):
                # The same trouble meets the first request, which reports it.
                self._listed = []
            self._window = listed_window(self._listed, self._model)
        return self._window

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt: by the server or a tokenizer where there is one, else estimated."""
        if self._counter is None:
            model = await self.model_id()
            at = self._endpoint
            self._counter = Counter(
                self._connected(),
                URL(at.base_url),
                model,
                tokenizer=self.spec.tokenizer,
                ask_server=at.base_url != at.preset.base_url,
            )
        return await self._counter.count(messages)

    async def _complete(self, request: Request, emit: Emit | None) -> Completion:
        n = request.n
        for _ in range(LESSONS):
            if n > 1 and (most := self._quirks.most(request.params)) is not None and most < n:
                return await self._apart(request, emit, most)
            body = self._body(request, emit, self._model or await self.model_id())
            if (labels := request.params.get(LABELS)) and body.get("logprobs"):
                await self._weigh(body, labels)
            self._quirks.adapt(body)
            try:
                if emit is None:
                    sent = _encode(body, request.messages)
                    answer = await (self._wire or self._connected()).post(self._chat, sent)
                    completion = self._completion(self._read(answer), request)
                else:
                    completion = await self._stream(request, body, emit)
            except Refused as refused:
                lesson, error = self._learn(refused, body, request), self._failure(refused)
            else:
                if len(completion.choices) < n:
                    return await self._top_up(request, emit, completion)
                return completion
            if not lesson:
                break
        raise error

    def _body(self, request: Request, emit: Emit | None, model: str) -> dict[str, Any]:
        """The fields of a request, without its messages."""
        body = {**self.spec.body, **request.params}
        if not _ENGINE_FIELDS.isdisjoint(body):
            body = {name: value for name, value in body.items() if name not in _ENGINE_FIELDS}
        body["model"] = model
        if request.n > 1:
            body["n"] = request.n
        if request.seed is not None:
            body["seed"] = request.seed
        if emit is not None:
            body["stream"] = True
            body["stream_options"] = {"include_usage": True}
        if self._options.priority:
            body["priority"] = request.priority
        if self.spec.max_output is not None:
            _cap(body, self.spec.max_output)
        return body

    async def _weigh(self, body: dict[str, Any], labels: Sequence[str]) -> None:
        """Ask for the labels' own log-probabilities, where the server may know them by their tokens."""
        at = self._endpoint
        if at.base_url != at.preset.base_url or self.spec.tokenizer:
            if self._labels is None:
                root, model = URL(at.base_url), await self.model_id()
                self._labels = LabelTokens(self.wire, root, model, tokenizer=self.spec.tokenizer)
            if ids := await self._labels.ids(labels):
                body[TOKEN_IDS] = ids
                body["top_logprobs"] = max(body.get("top_logprobs", 0), len(ids) + 1)
        self._quirks.adapt_weighed(body)

    def _learn(self, refused: Refused, body: Mapping[str, Any], request: Request) -> bool:
        """Whether the next attempt will differ from the one that was refused."""
        quirks, status, told = self._quirks, refused.status, refused.told
        if quirks.learn(status, told, body):
            return True
        return LABELS in request.params and quirks.learn_weighed(status, told, body)

    async def _stream(self, request: Request, body: dict[str, Any], emit: Emit) -> Completion:
        gathering = Gathering(request.n, emit)
        try:
            answer = await self._connected().stream(
                self._chat, _encode(body, request.messages), gathering.feed
            )
            if answer.body is not None:
                return _told_at_once(self._completion(self._read(answer), request), emit)
            return self._completion(gathering.whole(), request)
        except Malformed as malformed:
            error: BackendError = InvalidReplyError(f"{self.name}: {malformed}")
        except Refused as refused:
            if not gathering.begun:
                raise
            error = self._failure(refused)
        raise error

    async def _get(self, url: URL, headers: Mapping[str, str] | None = None) -> Any:
        try:
            return self._read(await self._connected().get(url, headers))
        except Refused as refused:
            error = self._failure(refused)
        raise error

    def _read(self, answer: Answer) -> Any:
        """The JSON value of an answer; raises `Refused` for an error status."""
        body = answer.body or b""
        if answer.status >= 300:
            raise Refused(answer.status, read_error(body), answer.headers)
        try:
            return parse(body)
        except Malformed as malformed:
            told = read_error(body).message if body.lstrip().startswith(b"<") else ""
            page = f" but a web page ({told}); is the address of the API right?" if told else ""
            error = InvalidReplyError(f"{self.name}: {malformed}{page}")
        raise error

    def _completion(self, payload: Any, request: Request) -> Completion:
        try:
            return read_completion(payload, request.n, request.messages)
        except Malformed as malformed:
            error = InvalidReplyError(f"{self.name}: {malformed}")
        raise error

    def _failure(self, refused: Refused) -> BackendError:
        return failure(self._connected().subject, refused, time.time())

    def _checked(self, request: Request, completion: Completion) -> Completion:
        """Refuse a reply that the filter took away; note what was asked for and is not there."""
        choices = completion.choices
        if not choices[0].text and all(_filtered(choice) for choice in choices):
            raise ContentFilteredError(f"{self.name}: the provider's content filter took the reply away")
        if request.params.get("logprobs") and choices[0].logprobs is None:
            self._quirks.note("logprobs", "does not return the log-probabilities that it is asked for")
        return completion

    async def _top_up(self, request: Request, emit: Emit | None, first: Completion) -> Completion:
        """The server sent fewer choices than it was asked for: keep them, ask for the others."""
        came = len(first.choices)
        self._quirks.got(came)
        rest = await self._complete(_part(request, came, request.n - came), _shifted(emit, came))
        return replace(first, choices=first.choices + rest.choices)

    async def _apart(self, request: Request, emit: Emit | None, most: int) -> Completion:
        """Requests of at most `most` samples, side by side."""
        starts = range(0, request.n, most)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(
                        self._complete(
                            _part(request, start, min(most, request.n - start)), _shifted(emit, start)
                        )
                    )
                    for start in starts
                ]
        except* BackendError as failed:
            errors = failed
        else:
            parts = [task.result() for task in tasks]
            return replace(parts[0], choices=tuple(choice for part in parts for choice in part.choices))
        raise _first(errors)

    def _connected(self) -> Wire:
        if self._wire is None:
            at = self._endpoint
            subject = Subject(self.name, self._model, at.base_url, at.key_env, self._secret())
            self._wire = Wire(
                subject, stall=self._options.stall, session=self._session, environ=self._environ
            )
        return self._wire

    def _secret(self) -> Secret | None:
        """The key, from its variable."""
        variable = self._endpoint.key_env
        value = self._environ.get(variable, "").strip() if variable else ""
        if not value:
            if self._endpoint.needs_key:
                raise UsageError(f"{self.name} needs a key: set the environment variable {variable}")
            return None
        if not (value.isascii() and value.isprintable()):
            raise UsageError(
                f"{self.name}: the key in {variable} holds characters that cannot be sent; was it copied whole?"
            )
        return Secret(value)


def _encode(fields: Mapping[str, Any], messages: Sequence[Message]) -> bytes:
    """A request's body; a prompt that several requests share is written once."""
    written = messages.encoded if type(messages) is Prompt else None
    if written is None:
        written = _json(messages)
        if type(messages) is Prompt:
            messages.encoded = written
    return b'%b,"messages":%b}' % (_json(fields)[:-1], written)


def _json(value: Any) -> bytes:
    """JSON; the fast encoder refuses halves of characters, which JSON can hold as escapes."""
    try:
        return to_json(value)
    except PydanticSerializationError:
        return _slow_encoder.encode(value).encode()


def joined(root: URL, path: str) -> URL:
    """`path` below the API's root; a query of the root (such as Azure's version) stays."""
    return root.with_path(f"{root.path.rstrip('/')}/{path}", keep_query=True)


def read_models_list(payload: Any) -> list[Mapping[str, Any]]:
    """The entries of GET /models, which some servers send as a bare list."""
    data = payload.get("data") if isinstance(payload, dict) else payload
    return [model for model in data if isinstance(model, dict)] if isinstance(data, list) else []


def _cap(body: dict[str, Any], most: int) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        if isinstance(body.get(name), int) and body[name] > most:
            body[name] = most


def _told_at_once(completion: Completion, emit: Emit) -> Completion:
    """The server did not stream; the listener hears each text whole."""
    for index, choice in enumerate(completion.choices):
        if choice.text or choice.reasoning:
            emit(Delta(index, choice.text, reasoning=choice.reasoning or ""))
    return completion


def _filtered(choice: Choice) -> bool:
    return choice.finish_reason == "content_filter" and not choice.text and not choice.tool_calls


def _part(request: Request, start: int, n: int) -> Request:
    """Samples `start` to `start + n` of a request, drawn as they would be within it."""
    return replace(request, n=n, seed=None if request.seed is None else request.seed + start)


def _shifted(emit: Emit | None, start: int) -> Emit | None:
    if emit is None or start == 0:
        return emit

    def shifted(delta: Delta) -> None:
        emit(replace(delta, index=delta.index + start))

    return shifted


def _first(group: BaseExceptionGroup[BackendError]) -> BackendError:
    """One error of a group: one that another attempt cannot mend, if there is any."""
    errors = [error for error in group.exceptions if isinstance(error, BackendError)]
    return next((error for error in errors if not error.retryable), errors[0])
