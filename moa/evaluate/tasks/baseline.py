"""Recorded outputs of a baseline, read beside the items that they belong to."""

from __future__ import annotations

from pathlib import Path

from moa.errors import UsageError
from moa.evaluate.records import Item
from moa.evaluate.tasks import rows
from moa.evaluate.tasks.rows import Row, as_list
from moa.spec.evaluation import BaselineSpec


class Baseline:
    """Finds the outputs of one item after another.

    It reads no further than it must, and keeps only what it read past: where both files are in one order,
    a million outputs take the memory of one.
    """

    def __init__(self, spec: BaselineSpec, near: Path | None) -> None:
        self.spec = spec
        self._rows = rows.read(spec, near)
        self._ahead: dict[tuple[str, str], tuple[str, ...]] = {}

    def outputs(self, item: Item) -> tuple[str, ...]:
        """The baseline's output for each turn; raises `UsageError` where none is recorded."""
        model = self.spec.models.get(item.group, "") if self.spec.models else ""
        wanted = [(key, model) for key in (f"id:{item.id}", f"prompt:{item.instruction.strip()}")]
        while True:
            for key in wanted:
                if key in self._ahead:
                    return self._ahead.pop(key)
            row = next(self._rows, None)
            if row is None:
                raise UsageError(
                    f"the baseline {self.spec.name} has no output for the item {item.id!r}: give --baseline-data FILE"
                )
            self._keep(row)

    def _keep(self, row: Row) -> None:
        name, prompt = row.get("id"), row.get("prompt")
        if name is None and not isinstance(prompt, str):
            raise row.refuse("needs an `id` or the `prompt` that it answers")
        key = f"id:{name}" if name is not None else f"prompt:{str(prompt).strip()}"
        model = str(row.get("model") or "") if self.spec.models else ""
        self._ahead[key, model] = _outputs(row)


def _outputs(row: Row) -> tuple[str, ...]:
    found = as_list(row.get("output"))
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise row.refuse("its `output` is neither text nor a list of texts")
    return tuple(texts)
