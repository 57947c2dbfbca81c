"""The oracle: the best response in the recorded judge's own eyes, which bounds what any selection can reach."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from moa.errors import UsageError
from moa.evaluate.judges.recording import Preferences, model_of, preferences_in, worth
from moa.nodes.response import Response
from moa.nodes.selector import SelectContext, Selector
from moa.spec.graph import GraphSpec, NodeSpec, Select

ORACLE = "oracle"
"""The selector's name."""
REMEDY = "chooses by recorded preferences: run it with `moa eval ... --judge recorded:FILE`"


class Oracle(Selector):
    """The response that the recorded judge preferred most to the baseline's.

    It sees the verdicts that it is then judged by. So it is no method but a bound: what a perfect selection among
    these responses would reach. Of equal ones the earlier wins; responses that were not judged are passed over.
    """

    preferences: str | None = None
    """The file of recorded preferences; `moa eval` gives that of its judge."""

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """One response, scored with its preference; the first, with a warning, where none was judged."""
        if self.preferences is None:
            raise UsageError(f"the selector `{ORACLE}` {REMEDY}")
        known = preferences_in(Path(self.preferences))
        values = [_worth(known, context.question, response) for response in responses]
        judged = [(value, -index) for index, value in enumerate(values) if value is not None]
        if not judged:
            context.warn(f"no preference is recorded for any of {len(responses)} responses; kept the first")
            return [responses[0]]
        best, place = max(judged)
        return [responses[-place].scored(best)]

    def kept(self, count: int) -> int:
        return min(1, count)

    def lacks(self) -> str | None:
        return f"the selector `{ORACLE}` {REMEDY}" if self.preferences is None else None


def _worth(known: Preferences, question: str, response: Response) -> float | None:
    authors = {model_of(response.model)} if response.model else set[str]()
    return worth(known.meant(question, response.text, authors))


def oracles(spec: GraphSpec) -> list[str]:
    """The nodes of a graph that see recorded verdicts."""
    return [name for name, node in spec.nodes.items() if node.select and node.select.name == ORACLE]


def informed(spec: GraphSpec, preferences: Path | None) -> GraphSpec:
    """The graph with its oracles told where the judge's preferences are.

    Raises `UsageError` where there are none.
    """
    blind = [name for name in oracles(spec) if not _select(spec.nodes[name]).options.get("preferences")]
    if not blind:
        return spec
    if preferences is None:
        raise UsageError(f"{spec.name}: its node `{blind[0]}` {REMEDY}")
    seeing = {name: _with(spec.nodes[name], preferences) for name in blind}
    return spec.model_copy(update={"nodes": {**spec.nodes, **seeing}})


def _with(node: NodeSpec, preferences: Path) -> NodeSpec:
    select = _select(node)
    options = {**select.options, "preferences": str(preferences.absolute())}
    return node.model_copy(update={"select": select.model_copy(update={"options": options})})


def _select(node: NodeSpec) -> Select:
    assert node.select is not None
    return node.select
