"""How different the proposals are, how good, and which of the two pays: mixing models or Self-MoA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import (
    LEVEL,
    Estimate,
    Floats,
    around,
    bounded,
    finite,
    mean,
    special,
    t_quantile,
)
from moa.nodes.similarity import tfidf_matrix, tokenize

ORDERS = (1, 2, 3, 4)
"""Lengths of the n-grams that a kernel averages over."""
_ROUNDING = 1e-6


def vendi_score(kernel: npt.ArrayLike, order: float = 1.0) -> float:
    """The effective number of different responses, from 1 (all alike) to n (nothing in common).

    Friedman and Dieng 2023 (arXiv:2210.02410), Definition 3.1: the exponential of the entropy of the eigenvalues
    of `kernel / n`. Other orders (Pasarkar and Dieng 2024, arXiv:2310.12952) take Renyi's entropy: 0 counts
    eigenvalues, infinity looks at the largest only; larger orders care less about rare responses.

    Args:
        kernel: n x n similarities: symmetric, positive semi-definite, with 1 on the diagonal.
        order: from 0 to infinity.

    Raises:
        UsageError: when the kernel is not one, or the order is negative.
    """
    shares = _spectrum(kernel)
    if order < 0 or np.isnan(order):
        raise UsageError(f"a Vendi score has no order {order}: from 0 to infinity")
    if order == 1:
        return float(np.exp(-(shares * np.log(shares)).sum()))
    if np.isinf(order):
        return float(1 / shares.max())
    return float((shares**order).sum() ** (1 / (1 - order)))


def _spectrum(kernel: npt.ArrayLike) -> Floats:
    """The positive eigenvalues of `kernel / n`, which sum to 1."""
    matrix = np.asarray(kernel, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise UsageError(f"a Vendi score needs a square matrix of similarities; got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise UsageError("a similarity is NaN or infinite")
    if not np.allclose(matrix, matrix.T, atol=_ROUNDING):
        raise UsageError(
            "the similarities are not symmetric: average the matrix with its transpose (BLEU needs that)"
        )
    if not np.allclose(np.diag(matrix), 1, atol=_ROUNDING):
        raise UsageError("the similarity of a response to itself must be 1")
    values = np.linalg.eigvalsh(matrix / len(matrix))
    if values[0] < -_ROUNDING:
        raise UsageError("the similarities are not positive semi-definite: use `ngram_kernel` or TF-IDF")
    positive = values[values > _ROUNDING / len(matrix)]
    return np.asarray(positive / positive.sum())


def tfidf_kernel(texts: Sequence[str]) -> Floats:
    """The cosine of TF-IDF vectors of the proposals, as in the selectors."""
    return np.array(tfidf_matrix(texts), dtype=np.float64)


def ngram_kernel(texts: Sequence[str], orders: Sequence[int] = ORDERS) -> Floats:
    """The cosine of n-gram counts, the lengths of n-grams weighing the same (as Friedman and Dieng 2023 do for text).

    A text shorter than a length goes without it; texts without words are alike.
    """
    total, present = np.zeros((len(texts), len(texts))), np.zeros(len(texts))
    for vectors in _unit_counts([tokenize(text) for text in texts], orders):
        total += vectors @ vectors.T
        present += vectors.any(axis=1)
    empty = present == 0
    total[np.ix_(empty, empty)] = 1
    present[empty] = 1
    return np.asarray(np.clip(total / np.sqrt(np.outer(present, present)), 0.0, 1.0))


def _unit_counts(words: Sequence[Sequence[str]], orders: Sequence[int]) -> Iterator[Floats]:
    """For each order, count vectors of length 1, one row a text; 0 for a text without any n-gram of the order."""
    said = list(chain.from_iterable(words))
    numbers = {word: number for number, word in enumerate(dict.fromkeys(said))}
    tokens = np.array([numbers[word] for word in said], np.int64)
    owners = np.repeat(np.arange(len(words)), [len(text) for text in words])
    grams = np.zeros_like(tokens)
    for order in range(1, max(orders, default=0) + 1):
        # The n-gram that begins at a place is the shorter one there, and the word after it.
        kept = max(0, len(tokens) - order + 1)
        whole = owners[:kept] == owners[order - 1 :]
        codes = grams[:kept] * len(numbers) + tokens[order - 1 :]
        found, grams = np.unique(codes, return_inverse=True)
        size = len(found)
        if order in orders:
            counts = np.bincount(owners[:kept][whole] * size + grams[whole], minlength=len(words) * size)
            matrix = counts.reshape(len(words), size).astype(np.float64)
            lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
            yield matrix / np.where(lengths > 0, lengths, 1)


def mean_vendi(kernels: Sequence[npt.ArrayLike], *, order: float = 1.0, level: float = LEVEL) -> Estimate:
    """The mean Vendi score over questions, one kernel of its proposals a question."""
    return mean([vendi_score(kernel, order) for kernel in kernels], level=level)


def member_quality(scores: npt.ArrayLike, *, order: float = 1.0) -> float:
    """The K-norm mean of the proposers' scores, `mean(score**K) ** (1/K)`: 1 is the mean, infinity the best.

    Self-MoA's paper (Li et al. 2025, arXiv:2502.00674) uses 1 and compares others; scores from 0 to 1.
    """
    given = bounded(scores, "scores")
    if np.isinf(order):
        return float(given.max())
    return float(np.mean(given**order) ** (1 / order))


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """What a standard deviation of quality and of diversity is worth, in points of performance.

    `performance = quality * z(quality) + diversity * z(diversity) + intercept`. `mixing_gain`, where some
    ensembles are marked as mixed, is the fitted performance of the best mixed one minus that of the best other.
    """

    quality: Estimate
    diversity: Estimate
    intercept: Estimate
    quality_p_value: float
    diversity_p_value: float
    r_squared: float
    n: int
    mixing_gain: Estimate | None
    reading: str


def tradeoff(
    performance: npt.ArrayLike,
    quality: npt.ArrayLike,
    diversity: npt.ArrayLike,
    *,
    mixed: Sequence[bool] | None = None,
    level: float = LEVEL,
) -> Tradeoff:
    """The regression of Self-MoA's paper (Li et al. 2025, arXiv:2502.00674, table 4) over ensembles.

    Ordinary least squares with quality (mean member score) and diversity (mean Vendi score) standardised;
    one entry an ensemble, performance in the unit to report. `mixed` says which ensembles have several
    models.

    Raises:
        UsageError: with fewer than 5 ensembles, or when quality or diversity do not vary or move as one.
    """
    score = finite(performance, "performance")
    good, varied = finite(quality, "quality"), finite(diversity, "diversity")
    _check_ensembles(score, good, varied, mixed)
    features = np.column_stack([_standard(good), _standard(varied), np.ones(len(score))])
    inverse = np.linalg.inv(features.T @ features)
    found = inverse @ features.T @ score
    residuals = score - features @ found
    df = len(score) - 3
    covariance = inverse * float(residuals @ residuals) / df
    errors, reach = np.sqrt(np.diag(covariance)), t_quantile(level, df)
    estimates = [
        around(float(b), float(e), reach, len(score), "OLS") for b, e in zip(found, errors, strict=True)
    ]
    total = float(np.square(score - score.mean()).sum())
    gain = None if mixed is None else _mixing_gain(features, found, covariance, mixed, reach)
    return Tradeoff(
        quality=estimates[0],
        diversity=estimates[1],
        intercept=estimates[2],
        quality_p_value=_p_value(estimates[0], df),
        diversity_p_value=_p_value(estimates[1], df),
        r_squared=1 - float(residuals @ residuals) / total if total else float("nan"),
        n=len(score),
        mixing_gain=gain,
        reading=_reading(estimates[0], estimates[1], gain),
    )


def _check_ensembles(score: Floats, good: Floats, varied: Floats, mixed: Sequence[bool] | None) -> None:
    if not len(score) == len(good) == len(varied) == (len(score) if mixed is None else len(mixed)):
        raise UsageError("give one performance, quality and diversity an ensemble")
    if len(score) < 5:
        raise UsageError(f"{len(score)} ensembles are too few for two slopes: give 5 or more")
    for name, values in (("quality", good), ("diversity", varied)):
        if np.ptp(values) <= 1e-12 * max(1.0, float(np.abs(values).max())):
            raise UsageError(f"all ensembles have the same {name}: its worth cannot be told")
    if abs(float(np.corrcoef(good, varied)[0, 1])) > 1 - 1e-9:
        raise UsageError("quality and diversity move as one: their worth cannot be told apart")


def _standard(values: Floats) -> Floats:
    return np.asarray((values - values.mean()) / values.std(ddof=1))


def _p_value(estimate: Estimate, df: int) -> float:
    if estimate.standard_error == 0:
        return 0.0 if estimate.value else 1.0
    return float(2 * special().stdtr(df, -abs(estimate.value / estimate.standard_error)))


def _mixing_gain(
    features: Floats, found: Floats, covariance: Floats, mixed: Sequence[bool], reach: float
) -> Estimate | None:
    """The fitted best mixed ensemble against the fitted best other; None where one kind is absent."""
    several = np.array(mixed, dtype=np.bool_)
    if several.all() or not several.any():
        return None
    fitted = features @ found
    best = [rows[np.argmax(fitted[rows])] for rows in (np.flatnonzero(several), np.flatnonzero(~several))]
    contrast = features[best[0]] - features[best[1]]
    error = float(np.sqrt(max(0.0, contrast @ covariance @ contrast)))
    return around(float(contrast @ found), error, reach, len(fitted), "OLS contrast")


def _reading(quality: Estimate, diversity: Estimate, gain: Estimate | None) -> str:
    """One sentence: does mixing help here?"""
    if gain is not None and gain.low > 0:
        return (
            f"Mixing helps here: the best mixture is expected {gain.value:.2g} points above "
            f"the best single-model ensemble ({gain.low:.2g} to {gain.high:.2g})."
        )
    if gain is not None and gain.high < 0:
        return (
            f"Self-MoA helps here: the best single-model ensemble is expected {-gain.value:.2g} points above "
            f"the best mixture ({-gain.high:.2g} to {-gain.low:.2g})."
        )
    if diversity.low <= 0:
        return (
            f"No gain from diversity shows at equal quality ({diversity.value:.2g} points a deviation, "
            f"{diversity.low:.2g} to {diversity.high:.2g}): sample the best model, as Self-MoA does."
        )
    if quality.value <= 0 or quality.low <= 0:
        return (
            f"Diversity pays ({diversity.value:.2g} points a deviation) and quality does not show "
            "to matter: mixing helps here."
        )
    ratio = diversity.value / quality.value
    return (
        f"A deviation of diversity is worth {ratio:.2g} deviations of quality: mixing helps only where it "
        "costs the members less quality than that."
    )
