"""Marking responses, so that an agent can tell what it reads from what it is told to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Literal

from moa.nodes.response import Response
from moa.nodes.selector import SelectContext, Selector

By = Literal["fence", "quote", "words"]
_MARK = "\ue000"
"""A character of the private use area, which no text has a use for."""


class Spotlight(Selector):
    """All responses in their order, each marked as data (spotlighting: Hines et al. 2024, arXiv:2403.14720).

    `by: fence` puts a line with a random code before and after each; the code, the same for all responses
    of a question, is drawn from the run's seed, is in none of them, and goes on as their label. `quote`
    puts `> ` before every line. `words` (datamarking) puts a mark between the words, which goes on as
    the label. Tell the next agent what the marks mean.
    """

    by: By = "fence"

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """Marked copies, labelled with the code or mark."""
        label = self._label([response.text for response in responses], context)
        mark = _MARKS[self.by]
        return [replace(response, text=mark(response.text, label), label=label) for response in responses]

    def _label(self, texts: Sequence[str], context: SelectContext) -> str:
        if self.by != "fence":
            return {"quote": ">", "words": _MARK}[self.by]
        random = Random(context.seed)
        while True:
            code = f"{random.getrandbits(48):012x}"
            if not any(code in text for text in texts):
                return code


def _fenced(text: str, code: str) -> str:
    return f"[{code} begins]\n{text}\n[{code} ends]"


def _quoted(text: str, mark: str) -> str:
    # Every character that some reader takes for the end of a line ends one.
    return "\n".join(f"{mark} {line}".rstrip() for line in text.splitlines())


def _datamarked(text: str, mark: str) -> str:
    return mark.join(text.replace(mark, "").split())


_MARKS: dict[By, Callable[[str, str], str]] = {
    "fence": _fenced,
    "quote": _quoted,
    "words": _datamarked,
}
