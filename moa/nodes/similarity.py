"""How alike texts are, in pure Python: cosine of TF-IDF or given vectors, BLEU and edit distance."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, get_args

Similarity = Literal["tfidf", "bleu", "edit"]
SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)
Matrix = list[list[float]]

EDIT_CAP = 10_000
"""Characters of each text that the edit similarity looks at."""
_ORDERS = 4
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Han
)
_WORD = re.compile(rf"[{_UNSPACED}]+|[^\W{_UNSPACED}]+")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")


def similarity_matrix(texts: Sequence[str], kind: Similarity = "tfidf") -> Matrix:
    """How alike each two of `texts` are, from 0 to 1, as an n x n matrix whose diagonal is 1.

    Row i of `bleu` scores text i against each other text as its reference, so it is not symmetric; the
    other kinds are.
    """
    return _MATRICES[kind](texts)


def tokenize(text: str) -> list[str]:
    """The words of a text in lower case; where a script writes no spaces, pairs of characters."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    runs: list[str] = _WORD.findall(plain)
    if _IS_UNSPACED.search(plain) is None:
        return runs
    return [token for run in runs for token in _split(run)]


def _split(run: str) -> Iterator[str]:
    if _IS_UNSPACED.match(run) is None or len(run) == 1:
        yield run
    else:
        yield from (first + second for first, second in pairwise(run))


def tfidf_matrix(texts: Sequence[str]) -> Matrix:
    """Cosine of TF-IDF vectors: raw counts, smoothed idf `ln((1 + n) / (1 + df)) + 1`, unit length."""
    counts = [Counter(tokenize(text)) for text in texts]
    spread = Counter(token for count in counts for token in count)
    weights = [_idf(len(texts), containing) for containing in range(len(texts) + 1)]
    vectors = [_unit({token: n * weights[spread[token]] for token, n in c.items()}) for c in counts]
    return _symmetric(texts, lambda i, j: _dot(vectors[i], vectors[j]))


def _idf(texts: int, containing: int) -> float:
    return math.log((1 + texts) / (1 + containing)) + 1


def _unit(vector: dict[str, float]) -> dict[str, float]:
    length = math.sqrt(math.fsum(value * value for value in vector.values()))
    return {token: value / length for token, value in vector.items()} if length else vector


def _dot(left: dict[str, float], right: dict[str, float]) -> float:
    short, long = sorted((left, right), key=len)
    return min(1.0, math.fsum(value * long[token] for token, value in short.items() if token in long))


def sentence_bleu(hypothesis: str, reference: str) -> float:
    """BLEU of one text against one reference, from 0 to 1: up to 4-grams, with the brevity penalty.

    As in sacrebleu's sentence score, which More Agents uses (Li et al. 2024, arXiv:2402.05120): orders
    longer than the text are left out, and the k-th order without a match counts half of the one before.
    """
    said, meant = tokenize(hypothesis), tokenize(reference)
    if not said or not meant:
        return float(said == meant)
    return _bleu(_ngrams(said), _ngrams(meant), len(said), len(meant))


def _ngrams(tokens: Sequence[str]) -> list[Counter[tuple[str, ...]]]:
    orders = range(1, _ORDERS + 1)
    return [Counter(zip(*(tokens[start:] for start in range(order)), strict=False)) for order in orders]


def _bleu(
    said: Sequence[Counter[tuple[str, ...]]],
    meant: Sequence[Counter[tuple[str, ...]]],
    length: int,
    wanted: int,
) -> float:
    logs: list[float] = []
    smoothing = 1.0
    for mine, theirs in zip(said, meant, strict=True):
        total = mine.total()
        matches = (mine & theirs).total()
        if total == 0 or (not logs and matches == 0):
            break
        smoothing = smoothing if matches else smoothing / 2
        logs.append(math.log((matches or smoothing) / total))
    if not logs:
        return 0.0
    penalty = min(0.0, 1 - wanted / length)
    return math.exp(math.fsum(logs) / len(logs) + penalty)


def bleu_matrix(texts: Sequence[str]) -> Matrix:
    """`sentence_bleu` of each text (row) against each other one (column)."""
    tokens = [tokenize(text) for text in texts]
    grams = [_ngrams(words) for words in tokens]

    def score(i: int, j: int) -> float:
        if i == j or texts[i] == texts[j]:
            return 1.0
        if not tokens[i] or not tokens[j]:
            return float(tokens[i] == tokens[j])
        return _bleu(grams[i], grams[j], len(tokens[i]), len(tokens[j]))

    return [[score(i, j) for j in range(len(texts))] for i in range(len(texts))]


def edit_similarity(left: str, right: str) -> float:
    """1 minus the Levenshtein distance over the longer length; of long texts, their first 10,000 characters."""
    left, right = left[:EDIT_CAP], right[:EDIT_CAP]
    longest = max(len(left), len(right))
    return 1 - levenshtein(left, right) / longest if longest else 1.0


def levenshtein(left: str, right: str) -> int:
    """Insertions, deletions and replacements that make one text the other (Myers 1999, bit-parallel)."""
    if not left or not right:
        return len(left) + len(right)
    where: dict[str, int] = {}
    for index, character in enumerate(left):
        where[character] = where.get(character, 0) | 1 << index
    full, last = (1 << len(left)) - 1, 1 << (len(left) - 1)
    plus, minus, distance = full, 0, len(left)
    for character in right:
        match = where.get(character, 0)
        diagonal = (((match & plus) + plus) ^ plus) | match | minus
        up = minus | ~(diagonal | plus) & full
        down = plus & diagonal
        distance += bool(up & last) - bool(down & last)
        up = (up << 1 | 1) & full
        plus = (down << 1 | ~(diagonal | up)) & full
        minus = up & diagonal
    return distance


def cosine_matrix(vectors: Sequence[Sequence[float]]) -> Matrix:
    """The cosine of each two vectors; 0 where one has no length."""
    lengths = [math.sqrt(_inner(vector, vector)) for vector in vectors]

    def cosine(i: int, j: int) -> float:
        length = lengths[i] * lengths[j]
        return max(-1.0, min(1.0, _inner(vectors[i], vectors[j]) / length)) if length else 0.0

    size = range(len(vectors))
    matrix = [[1.0] * len(vectors) for _ in size]
    for i in size:
        for j in range(i):
            matrix[i][j] = matrix[j][i] = 1.0 if vectors[i] == vectors[j] else cosine(i, j)
    return matrix


def _inner(left: Sequence[float], right: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(left, right, strict=True))


def edit_matrix(texts: Sequence[str]) -> Matrix:
    """`edit_similarity` of each two texts."""
    return _symmetric(texts, lambda i, j: edit_similarity(texts[i], texts[j]))


def _symmetric(texts: Sequence[str], score: Callable[[int, int], float]) -> Matrix:
    size = len(texts)
    matrix = [[1.0] * size for _ in texts]
    for i in range(size):
        for j in range(i + 1, size):
            matrix[i][j] = matrix[j][i] = 1.0 if texts[i] == texts[j] else score(i, j)
    return matrix


_MATRICES: dict[Similarity, Callable[[Sequence[str]], Matrix]] = {
    "tfidf": tfidf_matrix,
    "bleu": bleu_matrix,
    "edit": edit_matrix,
}
