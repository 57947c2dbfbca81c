"""Which of two answers is better: one judgment in a single order, or one in each."""

from __future__ import annotations

from typing import Any

from moa.evaluate.judges.base import JudgedKind, all_of, check_answered, opponent
from moa.evaluate.judges.order import mirrored, swaps
from moa.evaluate.judges.panel import Panel, fingerprint
from moa.evaluate.judges.showing import pair
from moa.evaluate.records import Answer, Item, Verdict
from moa.spec.evaluation import Order


class PairwiseJudge:
    """Compares an entrant's answer with another's; neither's name reaches the prompt.

    Args:
        panel: who judges; its agents read a `preference`.
        order: who is shown first.
        labels: what the two are called; drawn for each judgment by default.
        seed: for labels and fences.
    """

    kind: JudgedKind = "preference"
    needs_baseline = True

    def __init__(
        self, panel: Panel, *, order: Order = "both", labels: tuple[str, str] | None = None, seed: int = 0
    ) -> None:
        self.panel = panel
        self.order: Order = order
        self.labels = labels
        self.seed = seed
        self.name = panel.name
        self.fingerprint = fingerprint("pairwise", panel.plan.fingerprint, order, labels, seed)

    def calls(self, item: Item) -> int:
        """One question to the panel for each order."""
        return self.panel.calls * len(swaps(self.order, item.instruction))

    async def judge(self, item: Item, answer: Answer, against: Answer | None) -> list[Verdict]:
        """A verdict for each order; for equal texts one that says so, and nobody is asked."""
        check_answered(answer)
        other = opponent(self, against)
        if answer.outputs == other.outputs:
            return [self._verdict(item, answer, other, state="ok", value=0.5, method="identical")]
        orders = swaps(self.order, item.instruction)
        return await all_of(self._judge(item, answer, other, swapped) for swapped in orders)

    async def _judge(self, item: Item, answer: Answer, other: Answer, swapped: bool) -> Verdict:
        shown = (answer, other) if swapped else (other, answer)
        given = pair(item, shown[0].outputs, shown[1].outputs, self.seed, self.labels)
        ruling = await self.panel.ask(item.turns[-1], given)
        value, grade, details = ruling.value, ruling.grade, dict(ruling.details)
        if value is not None and not swapped:
            value = 1 - value
        return self._verdict(
            item,
            answer,
            other,
            state=ruling.state,
            value=None if value is None else float(value),
            swapped=swapped,
            text=ruling.text,
            method=ruling.method,
            grade=grade if swapped else mirrored(grade),
            details=details,
            spent=ruling.spent,
        )

    def _verdict(self, item: Item, answer: Answer, other: Answer, **fields: Any) -> Verdict:
        return Verdict(
            item=item.id,
            entrant=answer.entrant,
            kind="preference",
            judge=self.name,
            against=other.entrant,
            **fields,
        )
