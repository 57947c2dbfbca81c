"""Short forms for tests of judges: items, answers, and judges that answer from a script."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from moa.backends.base import Request
from moa.evaluate.judges import Judge, open_judge
from moa.evaluate.records import Answer, Item
from moa.run.runner import Runner
from moa.spec.evaluation import JudgeSpec
from tests.support.backends import Scripted

_PART = re.compile(r"\[(\w+) ([\w ]+?) begins?\]\n(.*?)\n\[\1 ends\]", re.DOTALL)
_RESPONSE = re.compile(r"response(?: (\w+))?")


class Shown(NamedTuple):
    """A judge's prompt, taken apart."""

    parts: tuple[tuple[str, str], ...]
    """What stands between fences: its heading, and the text."""
    fence: str
    prompt: str

    @property
    def labels(self) -> list[str]:
        """The names of the candidates, in order."""
        return [heading.split()[1] for heading, _ in self.parts if _RESPONSE.fullmatch(heading)]

    @property
    def candidates(self) -> list[str]:
        """The responses that are judged, in order."""
        return [text for heading, text in self.parts if _RESPONSE.fullmatch(heading)]

    def part(self, heading: str) -> str:
        """The text under a heading."""
        return dict(self.parts)[heading]


def shown(request: Request) -> Shown:
    """What a judge was shown."""
    prompt = "\n\n".join(str(message["content"]) for message in request.messages)
    found = _PART.findall(prompt)
    return Shown(tuple((heading, text) for _, heading, text in found), found[0][0], prompt)


def item(*turns: str, **fields: Any) -> Item:
    """An item that asks these turns."""
    return Item(id="1", turns=turns or ("Why is the sky blue?",), **fields)


def answer(*outputs: str, entrant: str = "ensemble", **fields: Any) -> Answer:
    """An answer of these outputs."""
    return Answer(item="1", entrant=entrant, state="ok", outputs=outputs, **fields)


def baseline(*outputs: str) -> Answer:
    """The baseline's answer."""
    return answer(*outputs, entrant="baseline")


Say = Callable[[Shown], str | BaseException]


def says(say: Say) -> Scripted:
    """A judge who answers as a function of what is shown."""
    return Scripted(lambda request: say(shown(request)))


def for_text(text: str, form: str = "{}") -> Say:
    """Prefers the response that holds `text`."""

    def say(seen: Shown) -> str:
        index = next(index for index, each in enumerate(seen.candidates) if text in each)
        return form.format(seen.labels[index])

    return say


def prefers_first(form: str = "{}") -> Say:
    """Prefers whatever is shown first: a judge of pure position bias."""
    return lambda seen: form.format(seen.labels[0])


@asynccontextmanager
async def court(
    spec: JudgeSpec | None = None, *, seed: int = 0, model: str | None = None, **backends: Scripted
) -> AsyncIterator[Judge]:
    """A judge over scripted models by name; the one called `judge` sits unless `spec` says otherwise."""
    async with Runner(backends=backends) as runner:
        yield open_judge(spec or JudgeSpec(), runner, seed=seed, model=model)


def texts_of(requests: Sequence[Request]) -> str:
    """All that was sent, in one text."""
    return "\n".join(str(message["content"]) for request in requests for message in request.messages)
