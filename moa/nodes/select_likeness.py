"""Selectors that compare the texts: the most typical one, the most diverse ones, the largest cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from pydantic import Field

from moa.nodes.response import Response
from moa.nodes.selector import SelectContext, Selector
from moa.nodes.similarity import Matrix, Similarity, similarity_matrix

Cluster = tuple[int, ...]
_CLOSE = 12
"""Decimals to which similarities are compared, so that rounding decides nothing."""


class Medoid(Selector):
    """The response most like all others, scored with its mean similarity to them.

    With `similarity: bleu` this is the choice of More Agents (Li et al. 2024, arXiv:2402.05120) for
    open questions. Of equal ones the earlier wins.
    """

    similarity: Similarity = "tfidf"

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """One response."""
        means = mean_similarities(_compare(responses, self.similarity))
        best = max(range(len(means)), key=lambda index: (round(means[index], _CLOSE), -index))
        return [responses[best].scored(means[best])]

    def kept(self, count: int) -> int:
        return min(1, count)


class Diverse(Selector):
    """The `k` responses that differ most: RMoA's greedy choice (Xie et al. 2025, arXiv:2505.24442).

    The first is the one with the lowest mean similarity to the others; each next one is the one whose
    greatest similarity to those already chosen is lowest. They go on in the order of choice.
    """

    k: int = Field(3, ge=1)
    similarity: Similarity = "tfidf"

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """`k` responses, or all of them in their own order where there are no more."""
        if len(responses) <= self.k:
            return list(responses)
        return [responses[index] for index in spread(_compare(responses, self.similarity), self.k)]

    def kept(self, count: int) -> int:
        return min(self.k, count)


class LargestCluster(Selector):
    """The largest cluster of responses (Cluster & Filter: Wolf et al. 2025, arXiv:2503.05856).

    Average-link clustering of the distances 1 - similarity, down to `clusters` of them. Of clusters
    of one size, the one with the higher mean similarity inside wins, then the one with the earliest
    response. Where there are no more responses than clusters there is no majority: all go on, with a
    warning.
    """

    clusters: int = Field(2, ge=2)
    similarity: Similarity = "tfidf"

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """The cluster's responses in their own order."""
        if len(responses) <= self.clusters:
            context.warn(f"{len(responses)} responses make no majority in {self.clusters} clusters; kept all")
            return list(responses)
        matrix = _compare(responses, self.similarity)
        found = average_link(matrix, self.clusters)
        largest = max(found, key=lambda cluster: (len(cluster), _cohesion(matrix, cluster), -cluster[0]))
        return [responses[index] for index in largest]

    def kept(self, count: int) -> int:
        return count if count <= self.clusters else count - self.clusters + 1


def mean_similarities(matrix: Matrix) -> list[float]:
    """The mean similarity of each text to the others; 1 for a text on its own."""
    others = len(matrix) - 1
    return [(sum(row) - row[index]) / others if others else 1.0 for index, row in enumerate(matrix)]


def spread(matrix: Matrix, k: int) -> list[int]:
    """Indices of `k` texts far from each other, greedily."""
    means = mean_similarities(matrix)
    chosen = [min(range(len(matrix)), key=lambda index: (round(means[index], _CLOSE), index))]
    while len(chosen) < k:
        left = [index for index in range(len(matrix)) if index not in chosen]
        chosen.append(min(left, key=lambda index: (_nearest(matrix, index, chosen), index)))
    return chosen


def _nearest(matrix: Matrix, index: int, chosen: Sequence[int]) -> float:
    return round(max(matrix[index][other] for other in chosen), _CLOSE)


def average_link(matrix: Matrix, count: int) -> list[Cluster]:
    """Merge the two clusters whose members are most alike on average until `count` are left.

    Of equally close pairs the earliest is merged first.
    """
    clusters: list[Cluster] = [(index,) for index in range(len(matrix))]
    while len(clusters) > count:
        left, right = max(_pairs(clusters), key=lambda pair: round(_linkage(matrix, *pair), _CLOSE))
        merged = tuple(sorted((*left, *right)))
        clusters = sorted([merged, *(cluster for cluster in clusters if cluster not in (left, right))])
    return clusters


def _pairs(clusters: Sequence[Cluster]) -> Iterator[tuple[Cluster, Cluster]]:
    return combinations(clusters, 2)


def _linkage(matrix: Matrix, left: Cluster, right: Cluster) -> float:
    """The mean similarity of the members of one cluster to those of the other, both directions alike."""
    total = sum(matrix[i][j] + matrix[j][i] for i in left for j in right)
    return total / (2 * len(left) * len(right))


def _cohesion(matrix: Matrix, cluster: Cluster) -> float:
    pairs = list(combinations(cluster, 2))
    return round(sum(matrix[i][j] for i, j in pairs) / len(pairs), _CLOSE) if pairs else 0.0


def _compare(responses: Sequence[Response], similarity: Similarity) -> Matrix:
    return similarity_matrix([response.text for response in responses], similarity)
