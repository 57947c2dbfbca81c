"""Entrants that win without answering: constant and duplicate outputs, text aimed at the judge, irrelevance.

Against null models (Zheng et al. 2024, arXiv:2410.07137): one output for all prompts, which closes the
judge's fence and stages a comparison of its own, won 86% of AlpacaEval 2. Thresholds leave 37 real models
unflagged, whose outputs are related to their own instruction more than to others in 94 to 99% of
comparisons, and of which at most 0.7% are duplicates.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from moa.errors import MissingExtraError, UsageError
from moa.evaluate.numbers.intervals import Floats
from moa.nodes.similarity import tokenize

Kind = Literal["constant output", "duplicate outputs", "shared text", "judge markup", "irrelevant outputs"]

CONSTANT = 0.5
CONSTANT_SHORT = 0.9
DUPLICATES = 0.05
MARKED = 0.01
RELEVANCE = 0.75
"""Chance that an output is nearer to its own instruction than to another: 0.5 for one that ignores it."""
WINNING = 0.2
"""Mean preference above which irrelevant outputs are suspicious; below it they are merely bad."""
LONG = 80
"""Characters from which equal outputs are no coincidence (short answers repeat: B, 42, No.)."""
FEWEST = 10
FEWEST_WORDS = 20
SHINGLE = 8
COMMON = 0.05
MOST = 400
"""Outputs that relevance and shared text look at; of more, a sample."""

MARKUP = (
    r"\[\[\s*(?:[ABC]|A\s*[>=]+\s*B|B\s*[>=]+\s*A|(?:10|[1-9])(?:\.\d+)?)\s*\]\]",
    r"<\|(?:im_start|im_end|eot_id|start_header_id|endoftext|The (?:Start|End) of)\b",
    r"\[The (?:Start|End) of\b",
    r"(?:^|\n)#+ *(?:Model Outputs?|Best Model Identifier|Outputs? \(?[abmM12]\)?)\b",
    r"[\"']?(?:model_identifier|output_[12])[\"']?\s*:",
    r"\b(?:my )?final verdict is\b",
)
"""What judges' prompts and verdicts look like, and answers to people do not."""

_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something suspicious: what, in which share of the outputs, in a sentence, and the items that show it."""

    kind: Kind
    share: float
    message: str
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entrant:
    """An entrant's outputs with the instructions and ids of their items; preferences from 0 to 1 where judged."""

    items: tuple[str, ...]
    instructions: tuple[str, ...]
    outputs: tuple[str, ...]
    preferences: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        sizes = {len(self.items), len(self.instructions), len(self.outputs)}
        if len(sizes | ({len(self.preferences)} if self.preferences is not None else set())) > 1:
            raise UsageError("give one id, instruction, output and preference an item")


def suspicions(entrant: Entrant, *, markup: Sequence[str] = (), seed: int = 0) -> tuple[Finding, ...]:
    """All findings on one entrant, none for an honest one.

    `markup` adds literal texts of the judge in use, such as its headings. Items of equal instructions are
    expected to have equal outputs and do not count as duplicates.
    """
    words = {row: tokenize(entrant.outputs[row]) for row in _sample(len(entrant.outputs), seed)}
    found = (_copied(entrant, words), _markup(entrant, markup), _irrelevant(entrant, words))
    return tuple(finding for finding in found if finding is not None)


def _copied(entrant: Entrant, words: Mapping[int, Sequence[str]]) -> Finding | None:
    """The plainest sign of outputs that are not written for their instruction."""
    if constant := _constant(entrant):
        return constant
    signs = [sign for sign in (_duplicates(entrant), _shared_text(entrant, words)) if sign]
    return max(signs, key=lambda sign: sign.share, default=None)


def _plain(text: str) -> str:
    return _SPACE.sub(" ", text).strip().casefold()


def _repeats(entrant: Entrant) -> dict[str, list[int]]:
    """Rows by output, for outputs that answer two different instructions or more."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, output in enumerate(entrant.outputs):
        rows[_plain(output)].append(row)
    return {
        output: same
        for output, same in rows.items()
        if len({_plain(entrant.instructions[row]) for row in same}) > 1
    }


def _constant(entrant: Entrant) -> Finding | None:
    """One output for most prompts."""
    n, repeats = len(entrant.outputs), _repeats(entrant)
    if n < FEWEST or not repeats:
        return None
    output, rows = max(repeats.items(), key=lambda pair: len(pair[1]))
    share = len(rows) / n
    if share < (CONSTANT if len(output) >= LONG else CONSTANT_SHORT):
        return None
    message = f"{len(rows)} of {n} items have one and the same output: {_excerpt(output)}"
    return Finding("constant output", share, message, _items(entrant, rows))


def _duplicates(entrant: Entrant) -> Finding | None:
    """Long outputs that answer several instructions."""
    n = len(entrant.outputs)
    groups = [rows for output, rows in _repeats(entrant).items() if len(output) >= LONG]
    rows = sorted(row for group in groups for row in group)
    if n < FEWEST or len(rows) < DUPLICATES * n or len(rows) < 3:
        return None
    message = (
        f"{len(rows)} of {n} outputs also answer another instruction, word for word ({len(groups)} texts)"
    )
    return Finding("duplicate outputs", len(rows) / n, message, _items(entrant, rows))


def _shared_text(entrant: Entrant, words: Mapping[int, Sequence[str]]) -> Finding | None:
    """Outputs of which most is found in many other outputs: a constant text with something added."""
    rows = [row for row in words if len(entrant.outputs[row]) >= LONG]
    if len(rows) < 2 * FEWEST:
        return None
    shingles = [_shingles(words[row]) for row in rows]
    spread = Counter(shingle for some in shingles for shingle in some)
    common = max(3, COMMON * len(rows))
    shared = [
        row
        for row, some in zip(rows, shingles, strict=True)
        if some and sum(spread[shingle] >= common for shingle in some) > len(some) / 2
    ]
    if len(shared) < DUPLICATES * len(rows):
        return None
    share = len(shared) / len(rows)
    message = f"more than half of the text of {share:.0%} of the outputs also stands in many others"
    return Finding("shared text", share, message, _items(entrant, shared))


def _shingles(words: Sequence[str]) -> set[int]:
    # Hashes differ from run to run, and so only are compared within one.
    return {hash(tuple(words[start : start + SHINGLE])) for start in range(len(words) - SHINGLE + 1)}


def _markup(entrant: Entrant, extra: Sequence[str]) -> Finding | None:
    """Outputs with a judge's headings, fences or verdicts that their instruction does not have."""
    pattern = re.compile("|".join([*MARKUP, *map(re.escape, extra)]), re.IGNORECASE)
    hits: dict[int, str] = {}
    for row, (instruction, output) in enumerate(zip(entrant.instructions, entrant.outputs, strict=True)):
        if (match := pattern.search(output)) and not pattern.search(instruction):
            hits[row] = match.group().strip()
    n = len(entrant.outputs)
    if not hits or len(hits) < min(n, max(2, MARKED * n)):
        return None
    texts = ", ".join(repr(text) for text, _ in Counter(hits.values()).most_common(3))
    message = f"{len(hits)} of {n} outputs speak the judge's language: {texts}"
    return Finding("judge markup", len(hits) / n, message, _items(entrant, sorted(hits)))


def _irrelevant(entrant: Entrant, words: Mapping[int, Sequence[str]]) -> Finding | None:
    """Long outputs that have no more to do with their own instruction than with others, and win all the same."""
    rows = [
        row for row, said in words.items() if len(said) >= FEWEST_WORDS and entrant.instructions[row].strip()
    ]
    if len(rows) < 2 * FEWEST:
        return None
    chances = relevance([words[row] for row in rows], [tokenize(entrant.instructions[row]) for row in rows])
    level = float(chances.mean())
    wins = (
        None if entrant.preferences is None else float(np.nanmean([entrant.preferences[row] for row in rows]))
    )
    if level + 2 * float(chances.std()) / sqrt(len(rows)) > RELEVANCE or (
        wins is not None and wins < WINNING
    ):
        return None
    preferred = "" if wins is None else f", yet are preferred in {wins:.0%}"
    message = (
        f"outputs are nearer to their own instruction than to another in {level:.0%} of comparisons "
        f"(chance: 50%){preferred}"
    )
    worst = [rows[place] for place in np.flatnonzero(chances <= RELEVANCE)]
    return Finding("irrelevant outputs", len(worst) / len(rows), message, _items(entrant, sorted(worst)))


def relevance(outputs: Sequence[Sequence[str]], instructions: Sequence[Sequence[str]]) -> Floats:
    """For each output, the share of other instructions that it is less like than its own, ties as half.

    Likeness is the cosine of TF-IDF vectors over the instructions' words; texts are given as their words.

    Raises:
        MissingExtraError: when scipy is not installed.
    """
    asked, said = [Counter(words) for words in instructions], [Counter(words) for words in outputs]
    spread = Counter(word for words in asked for word in words)
    weights = {word: log((1 + len(asked)) / (1 + count)) + 1 for word, count in spread.items()}
    columns = {word: column for column, word in enumerate(spread)}
    likeness = (_vectors(said, weights, columns) @ _vectors(asked, weights, columns).T).toarray()
    own = np.diag(likeness)[:, None]
    less, equal = (likeness < own - 1e-12).sum(axis=1), (np.abs(likeness - own) <= 1e-12).sum(axis=1)
    return np.asarray((less + (equal - 1) / 2) / max(1, len(asked) - 1))


def _vectors(texts: Sequence[Counter[str]], weights: dict[str, float], columns: dict[str, int]) -> Any:
    """TF-IDF vectors of length 1 as a sparse matrix; words that have no column are left out."""
    try:
        from scipy.sparse import csr_array
    except ImportError:
        raise MissingExtraError("looking for null models", "eval") from None
    values: list[float] = []
    places: list[int] = []
    ends = [0]
    for words in texts:
        known = {word: count * weights[word] for word, count in words.items() if word in columns}
        length = sqrt(sum(value * value for value in known.values()))
        values += [value / length for value in known.values()]
        places += [columns[word] for word in known]
        ends.append(len(values))
    return csr_array((values, places, ends), shape=(len(texts), len(columns)))


def _sample(n: int, seed: int) -> list[int]:
    """All rows, or a seeded choice of at most a thousand, in order."""
    if n <= MOST:
        return list(range(n))
    chosen: npt.NDArray[np.int64] = np.random.default_rng(seed).choice(n, MOST, replace=False)
    return sorted(chosen.tolist())


def _items(entrant: Entrant, rows: Sequence[int]) -> tuple[str, ...]:
    return tuple(entrant.items[row] for row in rows)


def _excerpt(text: str, most: int = 60) -> str:
    return repr(text if len(text) <= most else text[: most - 1] + "…")
