"""Reading a preference between two labelled candidates: from log-probabilities, else from the text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from moa.errors import UsageError
from moa.spec.agent import AgentSpec

Labels = tuple[str, str]
"""What the first and the second candidate are called in the prompt."""

_EDGES = " \t\r\n*_`\"'“”‘’()[]{}#.,:;!?▁Ġ"
"""What may stand round a label without being part of a verdict; the last two are raw tokens' spaces."""
_MARKS = r"[*_`\"'#(\[\])]{0,6}"
_NOUN = r"(?:(?:output|response|candidate|answer|option|choice|label|verdict)\s{0,2})?"
_STATED = (
    r"\b(?:verdict|winner|better|best|prefer(?:red)?|choose|choice|pick|answer)\b"
    r"(?:\s|\b(?:output|response|candidate|one|is|was|would be|the)\b|[:=*_(\[\"'`]){1,10}?"
)
_NOT = r"(?<!not )(?<!n't )"
_TIES = frozenset({"tie", "equal", "draw", "both"})
_STEPS = {">>": 1.0, ">": 0.75, "=": 0.5, "<": 0.25, "<<": 0.0}


class Preference(float):
    """The probability that the first candidate is preferred, and how it was read.

    `method` is `logprobs` or `text`; `grade` the judge's own verdict where it has more than two, with `A` for
    the first candidate (`A++`, `A>>B`, `A=B`, ...); `probabilities` what the labels got before they were
    weighed against each other.
    """

    method: str
    grade: str | None
    probabilities: tuple[float, float] | None

    def __new__(
        cls,
        value: float,
        method: str = "text",
        grade: str | None = None,
        probabilities: tuple[float, float] | None = None,
    ) -> Preference:
        preference = super().__new__(cls, value)
        preference.method, preference.grade, preference.probabilities = method, grade, probabilities
        return preference


class _Said(NamedTuple):
    """A verdict in a text: its value, its grade, and where its label begins (None: it is no plain label)."""

    value: float
    grade: str | None = None
    at: int | None = None


class _Token(NamedTuple):
    start: int
    end: int
    others: Sequence[Any]
    """The alternatives at its place, itself included: objects with `token` and `logprob`."""


def labels_in(agent: AgentSpec, given: Mapping[str, Any]) -> Labels:
    """The two labels that came with the question; raises `UsageError` where there are none."""
    labels = given.get("labels")
    if not isinstance(labels, list | tuple) or len(labels) != 2 or not all(map(_plain, labels)):
        raise UsageError(
            f"agent {agent.name!r} reads a preference: pass the names of the two candidates, "
            "`given={'labels': ['X', 'Y'], ...}`"
        )
    return labels[0], labels[1]


def read_preference(agent: AgentSpec, text: str, logprobs: Any, labels: Labels) -> Preference | None:
    """The preference that a reply states; None where it states none.

    With log-probabilities, p = exp(lp_1 - logsumexp(lp_1, lp_2)) at the token that decides between the
    labels (Dubois et al. 2024, arXiv:2404.04475): the one of the verdict, or the reply's first where the agent
    has no `pattern`. Spellings of one label are summed, a label that is missing has probability 0.
    Labels that differ in case alone (AlpacaEval's m and M) must be met to the letter. Without log-probabilities
    the text decides: 1, 0, 0.5 for a tie that the agent's pattern allows, or one of five grades.
    """
    tokens, joined = _tokens(logprobs)
    weighed = any(token.others for token in tokens)
    start, spoken = _spoken(joined if weighed else text)
    said = _said(agent, spoken, labels)
    if said is not None:
        exact = None
        if weighed and said.at is not None:
            exact = _at_label(tokens, joined, start + said.at, labels)
        return Preference(said.value, grade=said.grade) if exact is None else exact
    if weighed and agent.pattern is None and (first := _first(tokens, joined, start, len(spoken))):
        return _weighed(first, "", labels)
    return None


def _plain(label: object) -> bool:
    return isinstance(label, str) and bool(_bare(label))


def _bare(text: str) -> str:
    return text.strip(_EDGES)


def _spoken(text: str) -> tuple[int, str]:
    """The reply without a thinking model's notes to itself, and where it begins."""
    before, end, after = text.rpartition("</think>")
    return len(before) + len(end), after.partition("<think>")[0]


def _said(agent: AgentSpec, text: str, labels: Labels) -> _Said | None:
    """The verdict of a text, by the agent's pattern or by the forms that a bare label comes in."""
    if agent.pattern is None:
        return _plain_verdict(text, labels)
    matches = list(re.finditer(agent.pattern, text, re.MULTILINE))
    return _verdict(matches[-1][1] or "", matches[-1].start(1), labels) if matches else None


def _verdict(said: str, at: int, labels: Labels) -> _Said | None:
    """What a pattern has caught: a label, a tie, or a grade."""
    for value, label in zip((1.0, 0.0), labels, strict=True):
        if _same(said, label, labels):
            return _Said(value, at=at + said.find(_bare(said)))
    if _bare(said).casefold() in _TIES:
        return _Said(0.5)
    return _graded(said, labels)


def _graded(said: str, labels: Labels) -> _Said | None:
    """WildBench's `X++`, `X+`, `X=Y`, ... or Arena-Hard's `X>>Y`, `X>Y`, ...; `A` stands for the first label."""
    flags = re.IGNORECASE if not _close(labels) else 0
    either = "|".join(re.escape(label) for label in labels)
    lead = re.fullmatch(rf"({either})\s?(\+\+|\+)", _bare(said), flags)
    if lead is not None:
        much = lead[2] == "++"
        if _same(lead[1], labels[0], labels):
            return _Said(1.0 if much else 0.75, f"A{lead[2]}")
        return _Said(0.0 if much else 0.25, f"B{lead[2]}")
    match = re.fullmatch(rf"({either})\s?(>>|>|=|<<|<)\s?({either})", _bare(said), flags)
    if match is None or _same(match[1], match[3], labels):
        return None
    straight = _same(match[1], labels[0], labels)
    value = _STEPS[match[2]] if straight else 1 - _STEPS[match[2]]
    return _Said(value, {1.0: "A>>B", 0.75: "A>B", 0.5: "A=B", 0.25: "B>A", 0.0: "B>>A"}[value])


def _plain_verdict(text: str, labels: Labels) -> _Said | None:
    """The label that a reply of few words gives: alone on its first or last line, in brackets, or named as the better."""
    flags = re.MULTILINE | (0 if _close(labels) else re.IGNORECASE)
    either = f"({'|'.join(re.escape(label) for label in labels)})(?![\\w+])"
    for pattern in (
        rf"\[\[\s?{either}\s?\]\]",
        rf"(?i:{_NOT}{_STATED}){_MARKS}{either}(?=[\W_]{{0,6}}$)",
    ):
        found = list(re.finditer(pattern, text, flags))
        if found:
            return _verdict(found[-1][1], found[-1].start(1), labels)
    lines = list(re.finditer(r"^.*\S.*$", text, re.MULTILINE))
    for line in dict.fromkeys((*lines[-1:], *lines[:1])):
        match = re.fullmatch(rf"\s*{_MARKS}(?i:{_NOUN}){_MARKS}{either}[\W_]{{0,6}}", line[0], flags)
        if match is not None:
            return _verdict(match[1], line.start() + match.start(1), labels)
    return None


def _close(labels: Labels) -> bool:
    """Whether the labels differ in case alone."""
    return labels[0].casefold() == labels[1].casefold()


def _same(said: str, label: str, labels: Labels) -> bool:
    said, label = _bare(said), _bare(label)
    return said == label if _close(labels) else said.casefold() == label.casefold()


def _tokens(logprobs: Any) -> tuple[list[_Token], str]:
    """The tokens of a reply in the chat API's shape, by their place in the text that they make."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    pieces = [piece for piece in content or () if isinstance(piece, dict)]
    texts = _texts(pieces)
    tokens, at = [], 0
    for piece, text in zip(pieces, texts, strict=True):
        others = piece.get("top_logprobs")
        tokens.append(_Token(at, at + len(text), others if isinstance(others, list) else ()))
        at += len(text)
    return tokens, "".join(texts)


def _texts(pieces: Sequence[Mapping[str, Any]]) -> list[str]:
    return [token if isinstance(token := piece.get("token"), str) else "" for piece in pieces]


def _first(tokens: Sequence[_Token], joined: str, start: int, length: int) -> _Token | None:
    """The first token that says something; of a reply of spaces, the first."""
    spoken = [token for token in tokens if start <= token.start < start + length]
    telling = (token for token in spoken if _bare(joined[token.start : token.end]))
    return next(telling, spoken[0] if spoken else None)


def _at_label(tokens: Sequence[_Token], joined: str, at: int, labels: Labels) -> Preference | None:
    """The preference at the token where the label that begins at `at` parts from the other one."""
    decisive = at + _shared(labels)
    token = next((token for token in tokens if token.start <= decisive < token.end), None)
    if token is None:
        return None
    return _weighed(token, joined[at : token.start] if token.start > at else "", labels)


def _shared(labels: Labels) -> int:
    """How many letters the labels begin with in common."""
    bare = labels if _close(labels) else tuple(_bare(label).casefold() for label in labels)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*bare, strict=False)))


def _weighed(token: _Token, before: str, labels: Labels) -> Preference | None:
    """Weigh exp(lp_1 - logsumexp(lp_1, lp_2)); `before` is what of the label stood before this token."""
    masses = [_sum(_spellings(token, before, label, labels)) for label in labels]
    if masses == [-math.inf, -math.inf]:
        return None
    value = math.exp(masses[0] - _sum(masses))
    return Preference(value, "logprobs", probabilities=(math.exp(masses[0]), math.exp(masses[1])))


def _spellings(token: _Token, before: str, label: str, labels: Labels) -> Iterator[float]:
    """Log-probabilities of the alternatives that spell this label, or begin to."""
    for other in token.others:
        text, value = _told(other)
        if not math.isnan(value) and _spells(before, text, label, labels):
            yield value


def _told(other: Any) -> tuple[str, float]:
    """An alternative's token and log-probability; NaN where it has none."""
    text, value = (other.get("token"), other.get("logprob")) if isinstance(other, dict) else (None, None)
    if isinstance(text, str) and isinstance(value, int | float):
        return text, float(value)
    return "", math.nan


def _spells(before: str, text: str, label: str, labels: Labels) -> bool:
    if _close(labels):
        return before + text == label
    said, label = _bare(before + text).casefold(), _bare(label).casefold()
    return said == label or (len(said) > _shared(labels) and label.startswith(said))


def _sum(values: Iterator[float] | Sequence[float]) -> float:
    """The logarithm of the summed probabilities."""
    found = list(values)
    most = max(found, default=-math.inf)
    if most == -math.inf:
        return most
    return most + math.log(sum(math.exp(value - most) for value in found))
