"""How good an answer is by itself, on a scale; each turn of a conversation for itself."""

from __future__ import annotations

from moa.evaluate.judges import showing
from moa.evaluate.judges.base import JudgedKind, VerdictState, all_of, check_answered
from moa.evaluate.judges.panel import Panel, Ruling, fingerprint
from moa.evaluate.records import Answer, Item, Verdict


class ScoreJudge:
    """Grades every turn of an answer, with what went before in sight (MT-Bench: Zheng et al. 2023, arXiv:2306.05685).

    Args:
        panel: who judges; its agents read a `score`.
        scale: the lowest and the highest score; any other is unreadable.
        seed: for fences.
    """

    kind: JudgedKind = "score"
    needs_baseline = False

    def __init__(self, panel: Panel, *, scale: tuple[float, float] = (1, 10), seed: int = 0) -> None:
        self.panel = panel
        self.scale = scale
        self.seed = seed
        self.name = panel.name
        self.fingerprint = fingerprint("score", panel.plan.fingerprint, scale, seed)

    def calls(self, item: Item) -> int:
        """One question to the panel for each turn."""
        return self.panel.calls * len(item.turns)

    async def judge(self, item: Item, answer: Answer, against: Answer | None) -> list[Verdict]:
        """A verdict for each turn, in order."""
        check_answered(answer)
        return await all_of(self._judge(item, answer, turn) for turn in range(len(answer.outputs)))

    async def _judge(self, item: Item, answer: Answer, turn: int) -> Verdict:
        scale = {"lowest": _number(self.scale[0]), "highest": _number(self.scale[1])}
        given = showing.turn(item, answer, turn, self.seed) | scale
        ruling = await self.panel.ask(item.turns[turn], given)
        state, value = self._on_scale(ruling)
        return Verdict(
            item=item.id,
            entrant=answer.entrant,
            kind="score",
            judge=self.name,
            state=state,
            value=value,
            turn=turn,
            text=ruling.text,
            method=ruling.method,
            details=ruling.details,
            spent=ruling.spent,
        )

    def _on_scale(self, ruling: Ruling) -> tuple[VerdictState, float | None]:
        if ruling.value is None:
            return ruling.state, None
        value = float(ruling.value)
        return ("ok", value) if self.scale[0] <= value <= self.scale[1] else ("unparsed", None)


def _number(value: float) -> int | float:
    return int(value) if value == int(value) else value
