"""How probable a model finds a text, asked as everything else is: stored, limited, retried, paid for."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from moa.backends.base import Message
from moa.errors import BackendError, UsageError
from moa.run.endpoint import Endpoint
from moa.run.keys import Written
from moa.run.sampler import Draw, Drawn, Sampler

PREFIX = MappingProxyType({"max_tokens": 1, "temperature": 0.0})
"""The prompt up to where the text begins; its length is what counts."""
WHOLE = MappingProxyType(
    {**PREFIX, "prompt_logprobs": 0, "add_generation_prompt": False, "continue_final_message": True}
)
"""The text as the beginning of the model's turn, with the log-probability of each token of the prompt."""


class Likelihood(NamedTuple):
    """The log-probability (natural) of a text, over how many tokens, and the replies that say so."""

    logprob: float
    tokens: int
    drawn: tuple[Drawn, ...]


async def likelihood(
    sampler: Sampler, endpoint: Endpoint, messages: tuple[Message, ...], text: str, priority: int = 0
) -> Likelihood:
    """How probable `text` is as the model's answer to `messages`; what is stored is not asked for again.

    Raises:
        UsageError: for a model that does not tell the log-probabilities of its prompt.
        BackendError: of a call that failed.
    """
    if not endpoint.ready:
        await endpoint.prepare()
    turn = {"role": "assistant", "content": text}
    before = await _draw(sampler, endpoint, messages, PREFIX, priority)
    whole = await _draw(sampler, endpoint, (*messages, turn), WHOLE, priority)
    told = whole.record.logprobs
    places = told.get("prompt") if isinstance(told, dict) else None
    if not isinstance(places, list) or before.record.usage.estimated:
        raise UsageError(
            f"{endpoint.name} does not tell how probable a text is: that takes vLLM, in this process or as a server"
        )
    found = _logprobs(places[before.record.usage.input_tokens :])
    return Likelihood(sum(found), len(found), (before, whole))


def _logprobs(places: Sequence[Any]) -> list[float]:
    return [float(place["logprob"]) for place in places if isinstance(place, dict)]


async def _draw(
    sampler: Sampler, endpoint: Endpoint, messages: tuple[Message, ...], params: Any, priority: int
) -> Drawn:
    draw = Draw(endpoint, Written(messages), Written(params), (0,), priority)
    [drawn] = await sampler.draw(draw, reuse=True)
    if isinstance(drawn, BackendError):
        raise drawn
    return drawn
