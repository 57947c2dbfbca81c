"""What a server turned out not to take, learnt from its refusals and remembered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from moa.backends.failures import Told, overflow
from moa.backends.providers import Preset

MAX_TOKENS, MAX_COMPLETION_TOKENS = "max_tokens", "max_completion_tokens"
SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
    "random_seed",
)
"""Fields that may be left out with a note; without any other field a request would mean something else."""
SILENT = ("stream_options", "priority", "logprob_token_ids")
"""Fields that may be left out without a word."""

_REFUSAL = re.compile(
    r"unsupported|(?:not|n't) (?:yet )?(?:support|permit|allow|accept|recogni[sz]e)|unknown|unrecogni[sz]ed"
    r"|deprecated|only the default|unexpected|extra (?:inputs|fields)|may only be|cannot be (?:set|used)",
    re.I,
)
_REFUSAL_CODES = ("unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden")
_ONE_CHOICE = re.compile(r"only one (?:completion )?choice", re.I)
"""llama.cpp says so with status 500."""
_ABOUT_N = re.compile(
    rf"{_ONE_CHOICE.pattern}|multiple (?:choices|completions)|[`'\"]n[`'\"]|\bn *(?:must|should|is|>|=|:)",
    re.I,
)
_AT_MOST = re.compile(r"(?:<=|at most|less than or equal to|up to|maximum of) *(\d+)", re.I)
_MOST_ALTERNATIVES = re.compile(
    rf"(?:{_AT_MOST.pattern}|between 0 and (\d+)|more than (\d+)|\bmax(?:imum)?\b\D{{0,20}}(\d+))", re.I
)


class Quirks:
    """One server's differences from the API, as far as they are known.

    Args:
        name: The model's name, for the notes.
        preset: What is documented about the server.
        official: Whether the server is the preset's own, not another behind the same name.
    """

    def __init__(self, name: str, preset: Preset, *, official: bool = True) -> None:
        self._name = name
        self._most = preset.most
        self._most_greedy = preset.most
        self._renamed: dict[str, str] = {}
        if preset.seed_field != "seed":
            self._renamed["seed"] = preset.seed_field
        if official and preset.length_field != MAX_TOKENS:
            self._renamed[MAX_TOKENS] = preset.length_field
        self._refused_lengths: set[str] = set()
        self._dropped: set[str] = set()
        self._notes: dict[str, str] = {}
        self._alternatives: int | None = None
        """The largest `top_logprobs`; 0 where there are no log-probabilities at all."""

    def notes(self) -> tuple[str, ...]:
        """What the user should know: fields that change the answers and are not sent."""
        return tuple(self._notes.values())

    def note(self, key: str, text: str) -> None:
        """Remember something that the user should know, once."""
        self._notes.setdefault(key, f"{self._name} {text}")

    def most(self, params: Mapping[str, Any]) -> int | None:
        """The largest `n` of one request with these fields; None where no bound is known."""
        return self._most_greedy if params.get("temperature") == 0 else self._most

    def adapt(self, body: dict[str, Any]) -> None:
        """Make a body one that the server takes."""
        for old, new in self._renamed.items():
            if old in body:
                body.setdefault(new, body.pop(old))
        for name in self._dropped:
            body.pop(name, None)

    def adapt_weighed(self, body: dict[str, Any]) -> None:
        """Ask for as many log-probabilities as there are, where the caller can do with fewer, or without."""
        if self._alternatives == 0:
            for name in ("logprobs", "top_logprobs", "logprob_token_ids"):
                body.pop(name, None)
        elif self._alternatives is not None and body.get("top_logprobs", 0) > self._alternatives:
            body["top_logprobs"] = self._alternatives

    def learn_weighed(self, status: int, told: Told, body: Mapping[str, Any]) -> bool:
        """Whether a server refuses the log-probabilities of `body`: fewer may do, or it has none."""
        named = told.param or told.message
        if not 400 <= status < 500 or "logprobs" not in named or "logprobs" not in body:
            return False
        said = _MOST_ALTERNATIVES.search(told.message)
        bound = next((int(group) for group in said.groups() if group), 0) if said else 0
        self._alternatives = bound if 0 < bound < body.get("top_logprobs", 0) else 0
        if self._alternatives == 0:
            self.note("logprobs", "gives no log-probabilities, so what it writes is read instead")
        return True

    def got(self, choices: int) -> None:
        """The server sent only this many choices of more."""
        self._most = self._most_greedy = choices

    def learn(self, status: int, told: Told, body: Mapping[str, Any]) -> bool:
        """Whether the refusal of `body` is a quirk, so that the next attempt will differ."""
        if status not in (400, 422, 500) or overflow(told)[0]:
            return False
        about_n = _ONE_CHOICE if status == 500 else _ABOUT_N
        if body.get("n", 1) > 1 and (told.param == "n" or about_n.search(told.message)):
            self._learn_n(told, body)
            return True
        if status == 500 or not (_REFUSAL.search(told.message) or told.code in _REFUSAL_CODES):
            return False
        return self._learn_length(told, body) or self._learn_dropped(told, body)

    def _learn_n(self, told: Told, body: Mapping[str, Any]) -> None:
        said = _AT_MOST.search(told.message)
        bound = int(said[1]) if said else 1
        self._most_greedy = bound if 1 <= bound < body["n"] else 1
        if not ("greedy" in told.message.lower() and body.get("temperature") == 0):
            # vLLM refuses several equal samples, but takes several different ones.
            self._most = self._most_greedy

    def _learn_length(self, told: Told, body: Mapping[str, Any]) -> bool:
        for old, new in ((MAX_TOKENS, MAX_COMPLETION_TOKENS), (MAX_COMPLETION_TOKENS, MAX_TOKENS)):
            if old not in body or not _names(old, told):
                continue
            self._refused_lengths.add(old)
            if new in self._refused_lengths:
                return False
            self._renamed.pop(new, None)
            self._renamed[old] = new
            return True
        return False

    def _learn_dropped(self, told: Told, body: Mapping[str, Any]) -> bool:
        for name in (*SAMPLING, *SILENT):
            if name in body and _names(name, told):
                self._dropped.add(name)
                if name in SAMPLING:
                    self.note(name, f"does not take `{name}`, so it is asked without")
                return True
        return False


def _names(name: str, told: Told) -> bool:
    if told.param:
        return told.param == name or told.param.endswith(f".{name}")
    return re.search(rf"(?<![\w]){name}(?!\w)", told.message) is not None
