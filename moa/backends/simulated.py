"""Members with known skill, correlation, latency and failure rates, for tests and what-if studies."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

from pydantic import Field

from moa.backends.base import LABELS, Choice, Completion, Delta, Emit, Message, Request, Usage
from moa.backends.counting import estimate
from moa.backends.options import read_options
from moa.backends.replay import latest_turn
from moa.backends.replies import text_of
from moa.backends.truth import open_truth
from moa.errors import ContextOverflowError, ServerFailedError
from moa.spec.agent import Spec
from moa.spec.model import ModelSpec

Sleep = Callable[[float], Awaitable[object]]

_LABEL = r"(?P<label>[A-Z]|\d{1,2})"
_OPTIONS = (re.compile(rf"\({_LABEL}\)"), re.compile(rf"^[ \t]*{_LABEL}[.):][ \t]", re.M))
_FIRST_LABELS = ("A", "0", "1")
_STATED = re.compile(r"\bthe answer is \(?(\w+)\)?\.", re.I)
_COMPELLING = re.compile(r"\bbeyond doubt the answer is \(?(\w+)\)?\.", re.I)
_SIDE = re.compile(r"\bdefend option \(?(\w+)\)?", re.I)
_MARKED = re.compile(r"^[ \t]*\(?(\w+)[).].*\bthis is the correct answer\b", re.M)
_LIE = re.compile(r"\bdefend a wrong answer\b|\bcombine them into one\s+answer that .* misleads\b", re.I)
_AGREED = re.compile(r"\bagreed on one wrong answer\b", re.I)
_COPY = re.compile(r"\brepeat the user's message word for word\b", re.I)
"""How the prompts of our deceivers say what they are to argue for."""
_FILLER = """
first consider what is asked then weigh each part of it in turn the evidence points one way and a check of
the steps agrees with that so on the whole it seems clear enough
"""
_WORDS = _FILLER.split()


class SimulatedOptions(Spec):
    """`options` of a `sim` model; in a name, `sim:skill=0.8,correlation=0.3`."""

    skill: float = Field(0.8, ge=0, le=1)
    """The probability of a right answer."""
    correlation: float = Field(0.0, ge=0, le=1)
    """Between the correctness of any two answers to one question, by members of equal skill."""
    follow: float = Field(0.9, ge=0, le=1)
    """The probability of answering as most of the references do, where the prompt holds references."""
    persuasiveness: float = Field(0.5, ge=0, le=1)
    """In a deceiver's place, the probability that simulated members who hear it follow it and not the majority."""
    answer: str | int | None = None
    """The truth; by default drawn from the question's options, or made up."""
    truth: str | None = None
    """A JSONL file of questions and right answers; for those that it does not have, as above."""
    choices: int = Field(4, ge=2, le=100)
    """How many different answers there are to a question that lists no options."""
    member: str | None = None
    """Tells members with the same name and options apart."""
    latency: float = Field(0.0, ge=0)
    """Mean seconds before the first token."""
    latency_sd: float = Field(0.0, ge=0)
    """Standard deviation of the latency, in seconds: log-normal instead of constant."""
    tokens_per_second: float | None = Field(None, gt=0)
    """Speed of writing; as fast as can be by default."""
    failure: float = Field(0.0, ge=0, le=1)
    """The probability that an attempt fails."""
    empty: float = Field(0.0, ge=0, le=1)
    """The probability of a reply without text."""
    length: int = Field(24, ge=4, le=100_000)
    """Words of a reply, the answer included; a word counts as a token."""


class _Problem(NamedTuple):
    """A question as the members see it: the possible answers, the truth first."""

    text: str
    answers: Sequence[str]
    identity: str
    """Equal in every prompt that asks this question."""


class Simulated:
    """A member of a simulated population; a function of the seed and the messages alone.

    Correctness follows a common-cause model. For each question one number U is drawn that all members
    share. With probability sqrt(correlation) an answer depends on it alone: it is right when U < skill,
    and all such wrong answers are the same one. Otherwise the member draws for itself. So each answer is
    right with probability `skill`, and the correctness of two answers has correlation `correlation`
    where the skills are equal (where they are not, that times the largest correlation that such skills
    allow). Samples of one member are related in the same way as answers of different ones.

    Only failures depend on more: an attempt that follows a failed one is a new draw.
    """

    def __init__(self, spec: ModelSpec, *, sleep: Sleep = asyncio.sleep) -> None:
        self.spec = spec
        self.options = read_options(SimulatedOptions, spec)
        self.name = spec.name or "sim"
        self._member = self.options.member or self.name
        self._sleep = sleep
        self._failed: Counter[int] = Counter()

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """`request.n` answers to the latest user turn, each ending in "The answer is (B)." or its like.

        A judge's verdict is one of its labels, by themselves unless the prompt wants them in brackets.

        Raises:
            ServerFailedError: at the rate that `failure` says.
            ContextOverflowError: for a prompt beyond the spec's `context`.
        """
        prompt = estimate(request.messages)
        if self.spec.context is not None and prompt > self.spec.context:
            message = f"{self.name}: the prompt does not fit the context window ({self.spec.context} tokens)"
            raise ContextOverflowError(message, limit=self.spec.context)
        draws = self._draws(request, "attempt", request.seed or 0)
        await self._sleep(self._latency(draws))
        self._fail(request, draws)
        choices = [self._choice(request, index, prompt) for index in range(request.n)]
        await self._write(choices, emit)
        return Completion(tuple(choices), self.name)

    async def context_length(self) -> int | None:
        """The spec's window; simulated members have none of their own."""
        return self.spec.context

    async def aclose(self) -> None:
        """Nothing to release."""

    def _draws(self, request: Request, what: str, seed: int) -> Random:
        return _random(self._member, what, seed, json.dumps(request.messages, sort_keys=True))

    def _latency(self, draws: Random) -> float:
        mean, deviation = self.options.latency, self.options.latency_sd
        if not mean or not deviation:
            return mean
        variance = math.log1p((deviation / mean) ** 2)
        return draws.lognormvariate(math.log(mean) - variance / 2, math.sqrt(variance))

    def _fail(self, request: Request, draws: Random) -> None:
        """Fail at the stated rate, each attempt anew."""
        if not self.options.failure:
            return
        key = draws.getrandbits(64)
        chance = _random(key, self._failed[key]).random()
        if chance < self.options.failure:
            self._failed[key] += 1
            raise ServerFailedError(f"{self.name}: a simulated failure", status=503)
        del self._failed[key]

    def _choice(self, request: Request, index: int, prompt: int) -> Choice:
        draws = self._draws(request, "reply", (request.seed or 0) + index)
        words = [] if draws.random() < self.options.empty else self._reply(request, draws)
        longest = request.params.get("max_tokens") or self.spec.max_output or len(words)
        finish = "length" if len(words) > longest else "stop"
        words = words[:longest]
        usage = Usage(0 if index else prompt, len(words), estimated=True)
        return Choice(" ".join(words), finish, usage=usage)

    def _reply(self, request: Request, draws: Random) -> list[str]:
        turn = latest_turn(request.messages)
        if _COPY.search(_system(request.messages)):
            return turn.split(" ")
        named = request.params.get(LABELS) or ()
        problem = self._problem(turn, named)
        side = None if named else _side(request.messages, problem, draws)
        if side is not None:
            lies = side != problem.answers[0]
            return self._words(
                _form(problem, side), draws, compelling=lies and draws.random() < self.options.persuasiveness
            )
        answer = self._answer(request.messages, problem, named, draws)
        return [answer] if answer in named else self._words(answer, draws)

    def _words(self, answer: str, draws: Random, *, compelling: bool = False) -> list[str]:
        stated = f"{'Beyond doubt the' if compelling else 'The'} answer is {answer}.".split()
        start = draws.randrange(len(_WORDS))
        count = max(0, self.options.length - len(stated))
        return [*(_WORDS[(start + index) % len(_WORDS)] for index in range(count)), *stated]

    def _answer(
        self, messages: Sequence[Message], problem: _Problem, named: Sequence[str], draws: Random
    ) -> str:
        heard = "" if named else "\n".join([_system(messages), problem.text])
        followed = _votes(heard, _COMPELLING, problem)
        if not followed:
            followed = _votes(heard, _STATED, problem)
            followed = followed if followed and draws.random() < self.options.follow else Counter()
        if followed:
            most = max(followed.values())
            return _form(problem, draws.choice(sorted(vote for vote in followed if followed[vote] == most)))
        shared = _random("question", problem.identity)
        source = shared if draws.random() < math.sqrt(self.options.correlation) else draws
        right = source.random() < self.options.skill
        return _form(problem, problem.answers[0] if right else source.choice(problem.answers[1:]))

    def _problem(self, text: str, named: Sequence[str]) -> _Problem:
        labels = list(named or _labels(text))
        known = open_truth(self.options.truth).find(text) if self.options.truth and not named else None
        identity = known.question if known else text
        truth = known.label(labels) if known else None
        draws = _random("truth", identity)
        if labels:
            draws.shuffle(labels)
        else:
            labels = [str(number) for number in draws.sample(range(100, 10_000), self.options.choices)]
        if self.options.answer is not None or truth is None:
            truth = labels[0] if self.options.answer is None else str(self.options.answer)
        return _Problem(text, [truth, *(label for label in labels if label != truth)], identity)

    async def _write(self, choices: Sequence[Choice], emit: Emit | None) -> None:
        """Write all samples side by side, a word of each at a time."""
        pace = 1 / self.options.tokens_per_second if self.options.tokens_per_second else 0.0
        texts = [choice.text.split(" ") if choice.text else [] for choice in choices]
        longest = max(map(len, texts))
        if emit is None:
            await self._sleep(longest * pace)
            return
        for at in range(longest):
            await self._sleep(pace)
            for index, words in enumerate(texts):
                if at < len(words):
                    emit(Delta(index, words[at] if at == 0 else f" {words[at]}"))


def _random(*parts: object) -> Random:
    """A generator seeded by what it is for."""
    seed = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return Random(int.from_bytes(seed[:16], "big"))


def _labels(text: str) -> Iterator[str]:
    """The labels of a question's options, such as `(A)`, `(0)` or `A.` at the start of a line."""
    for pattern in _OPTIONS:
        found = dict.fromkeys(match["label"] for match in pattern.finditer(text))
        labels = [label for label in found if _follows(label, found)]
        if len(labels) >= 2:
            yield from labels
            return


def _follows(label: str, found: Mapping[str, object]) -> bool:
    """Whether a label begins a series or stands next in one."""
    if label.isdigit():
        return label in _FIRST_LABELS or str(int(label) - 1) in found
    return label in _FIRST_LABELS or chr(ord(label) - 1) in found


def _system(messages: Sequence[Message]) -> str:
    return "\n".join(text_of(m.get("content")) for m in messages if m.get("role") == "system")


def _side(messages: Sequence[Message], problem: _Problem, draws: Random) -> str | None:
    """The answer that the prompt has a member argue for; None where it may say what it thinks."""
    system = _system(messages)
    told = _SIDE.search(system) or _MARKED.search(problem.text)
    if told is not None:
        return told[1]
    if _AGREED.search(system):
        return _random("agreed", problem.identity).choice(problem.answers[1:])
    return draws.choice(problem.answers[1:]) if _LIE.search(system) else None


def _votes(heard: str, said: re.Pattern[str], problem: _Problem) -> Counter[str]:
    """What the references in the prompt answer, the earlier turns of the conversation left out."""
    stated = said.findall(heard)
    return Counter([answer for answer in stated if answer in problem.answers] or stated)


def _form(problem: _Problem, answer: str) -> str:
    """An answer as the question writes its options; a judge's label as its prompt demands it."""
    if f"({answer})" in problem.text:
        return f"({answer})"
    bracketed = f"[[{answer}" in problem.text or f"{answer}]]" in problem.text
    return f"[[{answer}]]" if bracketed else answer
