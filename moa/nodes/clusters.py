"""Groups of alike texts, from how alike each two of them are: average link, k-means, spectral."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from moa.errors import MissingExtraError
from moa.nodes.similarity import Matrix

if TYPE_CHECKING:
    from numpy import ndarray

Cluster = tuple[int, ...]
Method = Literal["average", "kmeans", "spectral"]
CLOSE = 12
"""Decimals to which similarities are compared, so that rounding decides nothing."""


def cluster(matrix: Matrix, count: int, method: Method = "average", seed: int = 0) -> list[Cluster]:
    """The texts in at most `count` clusters, the one with the majority first.

    The order is by size, then by mean similarity inside, then by the earliest text. `kmeans` and
    `spectral` are the clusterers of Wolf et al. 2025 (arXiv:2503.05856); they see the points whose inner
    products are the similarities (for embeddings: the vectors at length 1). No more texts than
    `count` are each a cluster of their own. Raises `MissingExtraError` without scikit-learn.
    """
    if len(matrix) <= count:
        found: list[Cluster] = [(index,) for index in range(len(matrix))]
    else:
        found = _METHODS[method](matrix, count, seed)
    return sorted(found, key=lambda cluster: (-len(cluster), -cohesion(matrix, cluster), cluster[0]))


def average_link(matrix: Matrix, count: int) -> list[Cluster]:
    """Merge the two clusters whose members are most alike on average until `count` are left.

    Of equally close pairs the earliest is merged first.
    """
    clusters: list[Cluster] = [(index,) for index in range(len(matrix))]
    while len(clusters) > count:
        left, right = max(_pairs(clusters), key=lambda pair: round(_linkage(matrix, *pair), CLOSE))
        merged = tuple(sorted((*left, *right)))
        clusters = sorted([merged, *(cluster for cluster in clusters if cluster not in (left, right))])
    return clusters


def cohesion(matrix: Matrix, cluster: Cluster) -> float:
    """The mean similarity of a cluster's members to each other; 0 for one on its own."""
    pairs = list(combinations(cluster, 2))
    return round(sum(matrix[i][j] for i, j in pairs) / len(pairs), CLOSE) if pairs else 0.0


def _pairs(clusters: Sequence[Cluster]) -> Iterator[tuple[Cluster, Cluster]]:
    return combinations(clusters, 2)


def _linkage(matrix: Matrix, left: Cluster, right: Cluster) -> float:
    """The mean similarity of the members of one cluster to those of the other, both directions alike."""
    total = sum(matrix[i][j] + matrix[j][i] for i in left for j in right)
    return total / (2 * len(left) * len(right))


def _kmeans(matrix: Matrix, count: int, seed: int) -> list[Cluster]:
    estimators = _sklearn()
    points = _points(matrix)
    return _by_label(estimators.KMeans(count, n_init=10, random_state=seed % 2**32), points)


def _spectral(matrix: Matrix, count: int, seed: int) -> list[Cluster]:
    """With the affinity exp(-|x - y|^2), which is exp(2 s - 2) for points of length 1 and similarity s."""
    estimators = _sklearn()
    from numpy import exp

    affinity = exp(2 * _symmetric(matrix) - 2)
    chosen = {"affinity": "precomputed", "assign_labels": "kmeans", "random_state": seed % 2**32}
    return _by_label(estimators.SpectralClustering(count, **chosen), affinity)


def _sklearn() -> Any:
    try:
        from sklearn import cluster as estimators
    except ImportError:
        raise MissingExtraError("`method: kmeans` or `spectral`", "eval") from None
    return estimators


def _symmetric(matrix: Matrix) -> ndarray[Any, Any]:
    from numpy import array

    square: ndarray[Any, Any] = array(matrix, dtype=float)
    both: ndarray[Any, Any] = (square + square.T) / 2
    return both


def _points(matrix: Matrix) -> ndarray[Any, Any]:
    """Points whose inner products are the similarities, as nearly as there are any."""
    from numpy import clip, linalg, sqrt

    values, vectors = linalg.eigh(_symmetric(matrix))
    points: ndarray[Any, Any] = vectors * sqrt(clip(values, 0, None))
    return points


def _by_label(estimator: Any, points: ndarray[Any, Any]) -> list[Cluster]:
    with warnings.catch_warnings():
        # Equal texts leave fewer distinct points than clusters: then there are fewer clusters.
        warnings.simplefilter("ignore")
        labels = [int(label) for label in estimator.fit_predict(points)]
    return [
        tuple(index for index, other in enumerate(labels) if other == label)
        for label in dict.fromkeys(labels)
    ]


_METHODS: dict[Method, Callable[[Matrix, int, int], list[Cluster]]] = {
    "average": lambda matrix, count, seed: average_link(matrix, count),
    "kmeans": _kmeans,
    "spectral": _spectral,
}
