"""A model in this process, run by transformers: the plain way, for what vLLM cannot run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from importlib.util import find_spec
from threading import Event
from typing import Any, NamedTuple, TypeVar

from pydantic import Field, JsonValue

from moa.backends.base import LABELS, Choice, Completion, Emit, Message, Request, Usage, from_afar
from moa.backends.counting import IMPORTING, LocalCounter, tokenizer_of
from moa.backends.drawing import Draw, Watch, first_stop
from moa.backends.labels import label_ids
from moa.backends.options import read_options
from moa.backends.vllm.window import stated_window
from moa.errors import (
    BackendTimeoutError,
    BadRequestError,
    ContextOverflowError,
    MissingExtraError,
    UsageError,
)
from moa.spec.agent import Spec
from moa.spec.model import ModelSpec

T = TypeVar("T")
LONGEST_REPLY = 2048
"""Tokens of a reply where nobody says."""
SAMPLING: Mapping[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "ignore_eos": False,
}
"""Sampling fields with what stands for one that nobody set; no default of the model's own is used."""
_ABSENT = ("presence_penalty", "frequency_penalty")
_OTHERS = frozenset(
    {"max_tokens", "max_completion_tokens", "stop", "logprobs", "top_logprobs", "response_format"}
    | {"chat_template_kwargs", "add_generation_prompt", "continue_final_message", "reasoning_effort", LABELS}
)
_OURS = frozenset({"n", "seed", "stream", "stream_options", "model", "messages"})


class TransformersOptions(Spec):
    """`options` of a model that transformers runs."""

    dtype: str = "auto"
    """`float32`, `bfloat16`, `float16`, or what the weights are in."""
    device: str | None = None
    """`cpu`, `cuda`, `cuda:1`, `mps`; the first GPU by default, else the processor."""
    attention: str | None = None
    """The implementation of attention: `sdpa`, `eager`, `flash_attention_2`, ..."""
    revision: str | None = None
    """A branch, tag or commit of the model on the hub."""
    trust_remote_code: bool = False
    """Run code that comes with the model."""
    threads: int | None = Field(None, ge=1)
    """Processor cores to use, by the whole process."""


class _Loaded(NamedTuple):
    model: Any
    tokenizer: Any
    ends: tuple[int, ...]
    """Tokens that end a reply."""


class Transformers:
    """A model of the Hugging Face hub or a folder, asked through `generate`, the samples of a request at once.

    `spec.model` is the id or the folder.
    """

    INCIDENTAL = frozenset({"device", "threads"})
    """Options that do not decide what the model answers."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.name = spec.name or f"transformers:{spec.model}"
        self.concurrency = spec.limits.concurrency or 1
        self.max_output = spec.max_output or LONGEST_REPLY
        self._options = read_options(TransformersOptions, spec)
        self._loaded: _Loaded | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._counter = LocalCounter(spec.tokenizer or spec.model)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """Ask for `request.n` samples, all in one batch; with `emit`, piece by piece.

        Raises:
            UsageError: when transformers or torch are missing, or cannot load the model; says what to do.
            ContextOverflowError: for a prompt that leaves no room for a reply.
            BadRequestError: for a sampling field that has no meaning here; names it.
            BackendTimeoutError: after `request.timeout` seconds.
        """
        body = _read_body(self.name, {**self.spec.body, **request.params})
        cancelled = Event()
        job = _Job(self, request, body, emit and from_afar(emit), cancelled)
        labels = await self._labels(body)
        try:
            async with asyncio.timeout(request.timeout) as limit:
                return await self._in_turn(job.run, labels)
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            # What nobody waits for any more ends at its next token.
            cancelled.set()
        raise BackendTimeoutError(f"{self.name}: no whole reply within {request.timeout:g} s")

    async def context_length(self) -> int | None:
        """The longest prompt and reply together, in tokens, where the model's files say it."""
        return self.spec.context or await asyncio.to_thread(stated_window, self.spec.model)

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt, by the model's own template and tokenizer."""
        return await asyncio.to_thread(self._counter, messages)

    async def aclose(self) -> None:
        """Let the model go."""
        pool, self._pool, self._loaded = self._pool, None, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown)

    def loaded(self) -> _Loaded:
        """The model; blocks while it is read."""
        if self._loaded is None:
            self._loaded = _load(self.name, self.spec, self._options)
        return self._loaded

    def check_installed(self) -> None:
        """Raise `MissingExtraError` where transformers or torch are not installed."""
        if find_spec("torch") is None or find_spec("transformers") is None:
            raise MissingExtraError(f"`{self.name}`", "transformers")

    async def _in_turn(self, work: Callable[..., T], *arguments: object) -> T:
        if self._pool is None:
            self.check_installed()
            self._pool = ThreadPoolExecutor(1, f"transformers {self.spec.model}")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def _labels(self, body: Mapping[str, Any]) -> list[int]:
        if not (body.get(LABELS) and body.get("logprobs")):
            return []
        loaded = await self._in_turn(self.loaded)

        async def encode(text: str) -> list[int]:
            return list(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])

        return await label_ids(body[LABELS], encode) or []


class _Job:
    """One request, done in the model's thread."""

    def __init__(
        self,
        backend: Transformers,
        request: Request,
        body: Mapping[str, Any],
        emit: Emit | None,
        cancelled: Event,
    ) -> None:
        self.backend = backend
        self.request = request
        self.body = body
        self.emit = emit
        self.cancelled = cancelled

    def run(self, labels: Sequence[int]) -> Completion:
        """Write the samples."""
        loaded = self.backend.loaded()
        prompt = self._prompt(loaded)
        room = self._room(loaded, len(prompt))
        stop = _strings(self.body.get("stop"))
        draw = Draw(self.body, self._seeds(), self._most(), labels)
        watch = Watch(loaded.tokenizer, len(prompt), stop, self.emit, self.cancelled)
        rows = self._generate(loaded, prompt, room, draw, watch)
        choices = [
            self._choice(loaded, index, row, draw, watch, len(prompt)) for index, row in enumerate(rows)
        ]
        return Completion(tuple(choices), self.backend.spec.model)

    def _prompt(self, loaded: _Loaded) -> list[int]:
        body = self.body
        continued = bool(body.get("continue_final_message", False))
        values = dict(body.get("chat_template_kwargs") or {})
        if body.get("reasoning_effort") is not None:
            values |= {"reasoning_effort": body["reasoning_effort"]}
        from jinja2 import TemplateError

        try:
            text = loaded.tokenizer.apply_chat_template(
                [dict(message) for message in self.request.messages],
                tokenize=False,
                add_generation_prompt=bool(body.get("add_generation_prompt", not continued)),
                continue_final_message=continued,
                **values,
            )
        except (ValueError, TemplateError) as error:
            said = " ".join(str(error).split())[:300]
        else:
            return list(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])
        raise BadRequestError(f"{self.backend.name}: the chat template refused the messages: {said}")

    def _room(self, loaded: _Loaded, prompt: int) -> int:
        """Tokens that the reply may have."""
        asked = self.body.get("max_completion_tokens") or self.body.get("max_tokens")
        longest = min(int(asked or self.backend.max_output), self.backend.max_output)
        window = self.backend.spec.context or getattr(loaded.model.config, "max_position_embeddings", None)
        if window is None:
            return longest
        if prompt >= window:
            said = f"{self.backend.name}: the prompt does not fit the context window ({window} tokens)"
            raise ContextOverflowError(said, limit=window)
        return min(longest, window - prompt)

    def _seeds(self) -> list[int | None]:
        seed = self.request.seed
        return [None if seed is None else seed + index for index in range(self.request.n)]

    def _most(self) -> int | None:
        return int(self.body.get("top_logprobs") or 0) if self.body.get("logprobs") else None

    def _generate(self, loaded: _Loaded, prompt: list[int], room: int, draw: Draw, watch: Watch) -> list[Any]:
        import torch
        from transformers.generation import LogitsProcessorList, StoppingCriteriaList

        ids = torch.tensor([prompt] * self.request.n, device=loaded.model.device)
        with torch.inference_mode():
            written = loaded.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=room,
                eos_token_id=None if self.body["ignore_eos"] else list(loaded.ends),
                pad_token_id=loaded.ends[0] if loaded.ends else 0,
                logits_processor=LogitsProcessorList([draw]),
                stopping_criteria=StoppingCriteriaList([watch]),
            )
        return list(written[:, len(prompt) :].tolist())

    def _choice(
        self, loaded: _Loaded, index: int, row: list[int], draw: Draw, watch: Watch, prompt: int
    ) -> Choice:
        ends = () if self.body["ignore_eos"] else loaded.ends
        length = watch.stopped.get(index) or next(
            (at + 1 for at, token in enumerate(row) if token in ends), len(row)
        )
        row = row[:length]
        finish = "stop" if index in watch.stopped or (row and row[-1] in ends) else "length"
        text = loaded.tokenizer.decode(row, skip_special_tokens=True)
        at = first_stop(text, _strings(self.body.get("stop")))
        text = text if at is None else text[:at]
        watch.tell(index, text)
        usage = Usage(prompt if index == 0 else 0, length)
        told = _told(loaded.tokenizer, row, draw.logprobs[index]) if draw.logprobs[index] else None
        return Choice(text, finish, None, told, None, usage)


def _read_body(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body with a value for each sampling field; refuses what has no meaning here."""
    said = {field: value for field, value in body.items() if value is not None and field not in _OURS}
    known = {*SAMPLING, *_OTHERS}
    for field in said:
        if field not in known:
            near = get_close_matches(field, known - {LABELS}, 1)
            hint = f" (did you mean `{near[0]}`?)" if near else ""
            raise BadRequestError(f"{name}: transformers has no sampling field `{field}` here{hint}")
    for field in _ABSENT:
        if said.get(field):
            raise BadRequestError(f"{name}: transformers has no `{field}`; use `repetition_penalty`")
    if said.get("response_format", {"type": "text"}) != {"type": "text"}:
        raise BadRequestError(f"{name}: transformers cannot hold a reply to a form; vLLM can (`vllm:MODEL`)")
    return {**SAMPLING, **said}


def _load(name: str, spec: ModelSpec, options: TransformersOptions) -> _Loaded:
    # Threads that spin while they wait make everything crawl beside any other busy process.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    with IMPORTING:
        import torch
        from transformers import AutoModelForCausalLM, GenerationConfig
        from transformers.utils import logging

    logging.disable_progress_bar()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    more = {"attn_implementation": options.attention} if options.attention else {}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            spec.model,
            dtype=options.dtype,
            revision=options.revision,
            trust_remote_code=options.trust_remote_code,
            **more,
        ).to(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (OSError, ValueError, RuntimeError, ImportError, AttributeError) as error:
        said = " ".join(str(error).split())[:300]
        raise UsageError(f"{name}: transformers cannot load it: {said}") from None
    ends = model.generation_config.eos_token_id
    # The model's own sampling defaults must not fill in what nobody set.
    model.generation_config = GenerationConfig()
    tokenizer = tokenizer_of(spec.tokenizer or spec.model, f"`{name}`")
    return _Loaded(model.eval(), tokenizer, _ends(ends, tokenizer.eos_token_id))


def _ends(*told: int | Sequence[int] | None) -> tuple[int, ...]:
    ids = [one for some in told if some is not None for one in ([some] if isinstance(some, int) else some)]
    return tuple(dict.fromkeys(ids))


def _strings(stop: Any) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def _told(tokenizer: Any, row: Sequence[int], places: Sequence[Mapping[int, float]]) -> JsonValue:
    """Log-probabilities in the chat API's shape."""

    def token(id: int, logprob: float) -> dict[str, JsonValue]:
        text = tokenizer.decode([id])
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    content: list[JsonValue] = []
    for id, place in zip(row, places, strict=False):
        ranked = sorted(place.items(), key=lambda item: -item[1])
        others: list[JsonValue] = [token(*other) for other in ranked]
        content.append({**token(id, place[id]), "top_logprobs": others})
    return {"content": content}
