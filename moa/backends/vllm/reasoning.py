"""What a thinking model writes to itself, told from its answer by one of vLLM's reasoning parsers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from moa.errors import UsageError


class Split(NamedTuple):
    """A text in two parts: notes to itself, and the answer."""

    reasoning: str
    text: str


class Reasoning:
    """The reasoning parser of one request.

    Args:
        llm: The engine, for its tokenizer and its model's configuration.
        parser: The parser's name, as vLLM's `reasoning_parser` takes it.
        template: The values that the chat template saw.
        messages: The conversation, which some parsers look at.
    """

    def __init__(
        self, llm: Any, parser: str, template: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]
    ) -> None:
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
        from vllm.reasoning import ReasoningParserManager

        try:
            self._kind = ReasoningParserManager.get_reasoning_parser(parser)
        except KeyError:
            raise UsageError(f"vLLM has no reasoning parser {parser!r}") from None
        self._arguments = {
            "chat_template_kwargs": dict(template),
            "model_config": llm.model_config,
        }
        self._tokenizer = llm.get_tokenizer()
        self._request = ChatCompletionRequest(messages=list(messages), model="")
        self._streams: dict[int, _Stream] = {}

    def split(self, text: str) -> Split:
        """A whole reply in two."""
        reasoning, content = self._parser().extract_reasoning(text, self._request)
        return Split(reasoning or "", content or "")

    def count(self, tokens: Sequence[int]) -> int:
        """How many of a reply's tokens are reasoning; 0 where the parser does not tell."""
        return int(self._parser().count_reasoning_tokens(tokens))

    def feed(self, index: int, text: str, tokens: Sequence[int]) -> Split:
        """The next piece of a sample in two."""
        if index not in self._streams:
            self._streams[index] = _Stream(self._parser())
        return self._streams[index].feed(text, tokens)

    def _parser(self) -> Any:
        return self._kind(self._tokenizer, **self._arguments)


class _Stream:
    """One sample as it arrives, with what came before."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        self._text = ""
        self._tokens: list[int] = []

    def feed(self, text: str, tokens: Sequence[int]) -> Split:
        before, ids = self._text, self._tokens
        self._text, self._tokens = before + text, [*ids, *tokens]
        delta = self._parser.extract_reasoning_streaming(
            before, self._text, text, ids, self._tokens, list(tokens)
        )
        return Split("", "") if delta is None else Split(delta.reasoning or "", delta.content or "")
