"""Drawing tokens for `transformers`: each sample from a generator of its own, watched as it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Event
from typing import Any

from moa.backends.base import Delta, Emit

HALF = "\ufffd"
"""Stands at the end of a text whose last character is not whole yet."""


class Draw:
    """Chooses the next token of each row, and leaves generation no other choice.

    A row's generator is its seed's alone, so a sample is the same whether it is drawn alone or among others.

    Args:
        sampling: temperature, top_p, top_k, min_p, repetition_penalty.
        seeds: One for each row; None draws from fresh randomness.
        most: Alternatives to list at each token; None for no log-probabilities.
        labels: Tokens whose log-probabilities are listed as well.
    """

    def __init__(
        self,
        sampling: Mapping[str, Any],
        seeds: Sequence[int | None],
        most: int | None,
        labels: Sequence[int],
    ) -> None:
        self._greedy = sampling["temperature"] == 0
        self._warpers = _warpers(sampling)
        self._seeds = seeds
        self._generators: list[Any] = []
        self._most = most
        self._labels = labels
        self.logprobs: list[list[dict[int, float]]] = [[] for _ in seeds]
        """For each row and each token, the one that was drawn first, then others from the most probable on."""

    def __call__(self, ids: Any, scores: Any) -> Any:
        """Scores that are infinite for all tokens but the drawn ones; `ids` and `scores` are rows of a batch."""
        import torch

        scores = scores.float()
        warped = self._warpers(ids, scores)
        tokens = warped.argmax(-1) if self._greedy else self._sample(warped.softmax(-1))
        if self._most is not None:
            self._note(scores.log_softmax(-1), tokens.tolist())
        chosen = torch.full_like(scores, float("-inf"))
        return chosen.scatter(1, tokens[:, None], 0.0)

    def _sample(self, probabilities: Any) -> Any:
        import torch

        if not self._generators:
            self._generators = [_generator(seed, probabilities.device) for seed in self._seeds]
        return torch.cat(
            [
                torch.multinomial(row, 1, generator=generator)
                for row, generator in zip(probabilities, self._generators, strict=True)
            ]
        )

    def _note(self, logprobs: Any, tokens: Sequence[int]) -> None:
        for row, told, token in zip(self.logprobs, logprobs, tokens, strict=True):
            values, others = told.topk(self._most or 0)
            top = dict(zip(others.tolist(), values.tolist(), strict=True))
            named = {label: float(told[label]) for label in self._labels}
            row.append({token: float(told[token])} | named | top)


class Watch:
    """Sees every token as it is written: ends rows at a stop string, all of them once nobody wants them.

    Args:
        tokenizer: Of the model.
        start: Tokens of the prompt.
        stop: Strings that end a reply, and are no part of it.
        emit: Hears each piece of text.
        cancelled: Set when nobody waits any more.
    """

    def __init__(
        self, tokenizer: Any, start: int, stop: Sequence[str], emit: Emit | None, cancelled: Event
    ) -> None:
        self._tokenizer = tokenizer
        self._start = start
        self._stop = stop
        self._emit = emit
        self._cancelled = cancelled
        self._held = max((len(word) - 1 for word in stop), default=0)
        self._told: dict[int, int] = {}
        self.stopped: dict[int, int] = {}
        """Rows that a stop string ended, with the number of their tokens."""

    def __call__(self, ids: Any, scores: Any, **_: Any) -> Any:
        """For each row, whether it ends here."""
        import torch

        if self._stop or self._emit is not None:
            for index, row in enumerate(ids[:, self._start :].tolist()):
                if index not in self.stopped:
                    self._look(index, row)
        ended = [self._cancelled.is_set() or index in self.stopped for index in range(len(ids))]
        return torch.tensor(ended, device=ids.device)

    def _look(self, index: int, row: Sequence[int]) -> None:
        text = self._tokenizer.decode(row, skip_special_tokens=True)
        if first_stop(text, self._stop) is not None:
            self.stopped[index] = len(row)
        elif not text.endswith(HALF):
            self.tell(index, text[: len(text) - self._held])

    def tell(self, index: int, text: str) -> None:
        """Tell what of this text of a row has not been told."""
        told = self._told.get(index, 0)
        if self._emit is not None and len(text) > told:
            self._told[index] = len(text)
            self._emit(Delta(index, text[told:]))


def first_stop(text: str, stop: Sequence[str]) -> int | None:
    """Where the first of these strings begins."""
    return min((at for word in stop if (at := text.find(word)) >= 0), default=None)


def _generator(seed: int | None, device: Any) -> Any:
    import torch

    generator = torch.Generator(device=device)
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def _warpers(sampling: Mapping[str, Any]) -> Any:
    from transformers import generation

    warpers = generation.LogitsProcessorList()
    if (penalty := sampling["repetition_penalty"]) != 1:
        warpers.append(generation.RepetitionPenaltyLogitsProcessor(float(penalty)))
    if sampling["temperature"] not in (0, 1):
        warpers.append(generation.TemperatureLogitsWarper(float(sampling["temperature"])))
    if sampling["top_k"] > 0:
        warpers.append(generation.TopKLogitsWarper(int(sampling["top_k"])))
    if sampling["top_p"] < 1:
        warpers.append(generation.TopPLogitsWarper(float(sampling["top_p"])))
    if sampling["min_p"] > 0:
        warpers.append(generation.MinPLogitsWarper(float(sampling["min_p"])))
    return warpers
