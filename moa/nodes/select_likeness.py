"""Selectors that compare the texts: the most typical one, the most diverse ones, the clusters, the outliers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from moa.nodes.clusters import CLOSE, Cluster, Method, cluster
from moa.nodes.likeness import Likeness
from moa.nodes.response import Response
from moa.nodes.selector import SelectContext
from moa.nodes.similarity import Matrix

MAJORITY = "majority group"
"""The label of the responses in a cluster that is larger than every other."""
MINORITY = "minority group"
EVEN = "even group"
"""The label of those in clusters of which none is the largest."""
_COLOURS = ("amber", "birch", "coral", "denim", "ebony", "fern", "ginger", "hazel")
"""Tell groups apart without a digit or a letter, which could pass for an option of the question."""
_HEADER = re.compile(rf"\[((?:{MAJORITY}|{MINORITY}|{EVEN})[^\]\n]*)\]", re.IGNORECASE)


class Medoid(Likeness):
    """The response most like all others, scored with its mean similarity to them.

    With `similarity: bleu` this is the choice of More Agents (Li et al. 2024, arXiv:2402.05120) for
    open questions. Of equal ones the earlier wins.
    """

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """One response."""
        means = mean_similarities(await self.compare(responses, context))
        best = max(range(len(means)), key=lambda index: (round(means[index], CLOSE), -index))
        return [responses[best].scored(means[best])]

    def kept(self, count: int) -> int:
        return min(1, count)


class Diverse(Likeness):
    """The `k` responses that differ most: RMoA's greedy choice (Xie et al. 2025, arXiv:2505.24442).

    The first is the one with the lowest mean similarity to the others; each next one is the one whose
    greatest similarity to those already chosen is lowest. They go on in the order of choice.
    """

    k: int = Field(3, ge=1)

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """`k` responses, or all of them in their own order where there are no more."""
        if not self.compares(len(responses)):
            return list(responses)
        matrix = await self.compare(responses, context)
        return [responses[index] for index in spread(matrix, self.k)]

    def compares(self, count: int) -> bool:
        return count > self.k

    def kept(self, count: int) -> int:
        return min(self.k, count)


class _Clustering(Likeness):
    """Base of selectors that put alike responses together, into at most `clusters` groups by `method`."""

    clusters: int = Field(2, ge=2)
    method: Method = "average"

    async def _grouped(self, matrix: Matrix, context: SelectContext) -> list[Cluster]:
        """The clusters, largest first."""
        return cluster(matrix, self.clusters, self.method, context.seed)


class LargestCluster(_Clustering):
    """The largest cluster of responses (Cluster & Filter: Wolf et al. 2025, arXiv:2503.05856).

    Average-link clustering of the distances 1 - similarity, down to `clusters` of them; or, as in the
    paper, scikit-learn's `kmeans` or `spectral` (extra `eval`), seeded. Of clusters
    of one size, the one with the higher mean similarity inside wins, then the one with the earliest
    response. Where there are no more responses than clusters there is no majority: all go on, with a
    warning.
    """

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """The cluster's responses in their own order."""
        if not self.compares(len(responses)):
            context.warn(f"{len(responses)} responses make no majority in {self.clusters} clusters; kept all")
            return list(responses)
        matrix = await self.compare(responses, context)
        found = await self._grouped(matrix, context)
        return [responses[index] for index in found[0]]

    def compares(self, count: int) -> bool:
        return count > self.clusters

    def kept(self, count: int) -> int:
        if self.method != "average":
            return count
        return count if count <= self.clusters else count - self.clusters + 1


class LabelByCluster(_Clustering):
    """All responses in their order, each labelled with its cluster (Cluster & Prompt: arXiv:2503.05856).

    Labels are `majority group` and `minority group` (with a colour where there are several), or `even
    group` with a colour where no cluster is the largest; never a digit or a letter that could be taken
    for an option of the question. With `inline` the label stands in brackets before the text too.
    """

    clusters: int = Field(2, ge=2, le=len(_COLOURS))
    inline: bool = False

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """Labelled copies."""
        matrix = await self.compare(responses, context)
        labels: dict[int, str] = {}
        groups = await self._grouped(matrix, context)
        for group, name in zip(groups, _names([len(group) for group in groups]), strict=True):
            labels |= dict.fromkeys(group, name)
        return [self._labelled(response, labels[index]) for index, response in enumerate(responses)]

    def _labelled(self, response: Response, label: str) -> Response:
        if not self.inline:
            return response.labelled(label)
        # What a response itself writes in such brackets must not pass for ours.
        text = _HEADER.sub(r"(\1)", response.text)
        return replace(response, text=f"[{label}]\n{text}", label=label)


class Trimmed(Likeness):
    """All responses but the `drop` that are least like the others, in their own order.

    The outliers go one by one, the mean similarity counted anew after each; of equal ones the later
    goes first. Two responses are equally unlike each other, so at least two stay, and fewer than three
    are all kept with a warning.
    """

    drop: int = Field(1, ge=1)

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """The responses that are left."""
        if not self.compares(len(responses)):
            context.warn(f"{len(responses)} responses have no outlier; kept all")
            return list(responses)
        matrix = await self.compare(responses, context)
        left = list(range(len(responses)))
        while len(left) > self.kept(len(responses)):
            part = [[matrix[i][j] for j in left] for i in left]
            means = mean_similarities(part)
            left.pop(min(range(len(left)), key=lambda place: (round(means[place], CLOSE), -place)))
        return [responses[index] for index in left]

    def compares(self, count: int) -> bool:
        return count >= _FEWEST

    def kept(self, count: int) -> int:
        return count if count < _FEWEST else max(_FEWEST - 1, count - self.drop)


_FEWEST = 3
"""Responses of which one can be an outlier."""


def _names(sizes: Sequence[int]) -> list[str]:
    """A label for each cluster; `sizes` fall."""
    if len(sizes) > 1 and sizes[0] == sizes[1]:
        return [f"{EVEN} {colour}" for colour in _COLOURS[: len(sizes)]]
    if len(sizes) <= 2:
        return [MAJORITY, MINORITY][: len(sizes)]
    return [MAJORITY, *(f"{MINORITY} {colour}" for colour in _COLOURS[: len(sizes) - 1])]


def mean_similarities(matrix: Matrix) -> list[float]:
    """The mean similarity of each text to the others; 1 for a text on its own."""
    others = len(matrix) - 1
    return [(sum(row) - row[index]) / others if others else 1.0 for index, row in enumerate(matrix)]


def spread(matrix: Matrix, k: int) -> list[int]:
    """Indices of `k` texts far from each other, greedily."""
    means = mean_similarities(matrix)
    chosen = [min(range(len(matrix)), key=lambda index: (round(means[index], CLOSE), index))]
    while len(chosen) < k:
        left = [index for index in range(len(matrix)) if index not in chosen]
        chosen.append(min(left, key=lambda index: (_nearest(matrix, index, chosen), index)))
    return chosen


def _nearest(matrix: Matrix, index: int, chosen: Sequence[int]) -> float:
    return round(max(matrix[index][other] for other in chosen), CLOSE)
