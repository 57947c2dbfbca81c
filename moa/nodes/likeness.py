"""What selectors that compare texts have in common: how alike two responses are, and by whose embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import model_validator

from moa.graph.measured import Candidate, Measured
from moa.nodes.response import Response
from moa.nodes.selector import SelectContext, Selector
from moa.nodes.similarity import Matrix, cosine_matrix, similarity_matrix

Measure = Literal["tfidf", "bleu", "edit", "embedding"]
EMBEDDER = "local:all-minilm-l6-v2"
"""Whose embeddings are compared where none is named."""


class Likeness(Selector):
    """Base of selectors that compare texts.

    `similarity` is `tfidf`, `bleu` or `edit`, computed here, or `embedding`: the cosine of the vectors
    of the model `embedder`, which is a small local one unless another is named (any server's
    `openai:text-embedding-3-small`, `http://host/v1#model`, or an entry of models.yaml).
    """

    similarity: Measure = "tfidf"
    embedder: str | None = None

    @model_validator(mode="after")
    def _embedder_belongs_to_embedding(self) -> Likeness:
        if self.embedder is not None and self.similarity != "embedding":
            raise ValueError("`embedder` belongs to `similarity: embedding`")
        return self

    async def compare(self, responses: Sequence[Response], context: SelectContext) -> Matrix:
        """How alike each two responses are."""
        texts = [response.text for response in responses]
        if self.similarity == "embedding":
            return cosine_matrix(await context.embed(texts, self.embedder or EMBEDDER))
        return similarity_matrix(texts, self.similarity)

    def compares(self, count: int) -> bool:
        """Whether a choice among `count` responses compares them at all."""
        return True

    def asks(self) -> Mapping[str, str]:
        return {} if self.embedder is None else {"embedder": self.embedder}

    def measures(self, question: int, candidates: Sequence[Candidate]) -> Sequence[Measured]:
        if self.similarity != "embedding" or not self.compares(len(candidates)):
            return ()
        tokens = sum(candidate.tokens for candidate in candidates)
        return (Measured("embedding", self.embedder or EMBEDDER, len(candidates), tokens),)
