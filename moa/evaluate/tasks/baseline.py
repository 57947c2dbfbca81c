"""Recorded outputs of a baseline, read beside the items that they belong to."""

from __future__ import annotations

from pathlib import Path

from moa.errors import UsageError
from moa.evaluate.records import Item
from moa.evaluate.tasks import rows
from moa.evaluate.tasks.hub import described
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
        self._ahead: dict[tuple[str, str], list[tuple[str, ...]]] = {}

    def beside(self, item: Item) -> Item:
        """The item with the baseline's output for each turn, unless it brought its own.

        Raises `UsageError` where none is recorded.
        """
        return item if item.baseline else item.model_copy(update={"baseline": self._outputs(item)})

    def _outputs(self, item: Item) -> tuple[str, ...]:
        model = self._model(item)
        wanted = [(key, model) for key in (f"id:{item.id}", f"prompt:{item.instruction.strip()}")]
        while True:
            for key in wanted:
                if key in self._ahead:
                    return self._take(key)
            row = next(self._rows, None)
            if row is None:
                raise UsageError(
                    f"{described(self.spec)}: the baseline {self.spec.name} has no output for the item {item.id!r}; "
                    "--baseline NAME compares with an entrant instead"
                )
            self._keep(row)

    def _model(self, item: Item) -> str:
        """Whose rows are meant, where rows of several models stand together."""
        if self.spec.models and item.group not in self.spec.models:
            raise UsageError(
                f"the item {item.id!r} is of the group {item.group!r}, for which `models` of the baseline names nobody"
            )
        return self.spec.models.get(item.group, "")

    def _keep(self, row: Row) -> None:
        name, prompt = row.get("id"), row.get("prompt")
        if name is None and not isinstance(prompt, str):
            raise row.refuse("needs an `id` or the `prompt` that it answers")
        key = f"id:{name}" if name is not None else f"prompt:{str(prompt).strip()}"
        model = str(row.get("model") or "") if self.spec.models else ""
        self._ahead.setdefault((key, model), []).append(_outputs(row))

    def _take(self, key: tuple[str, str]) -> tuple[str, ...]:
        """The first recording under `key`; where an instruction comes twice, each takes its own."""
        recorded = self._ahead.pop(key)
        if len(recorded) > 1:
            self._ahead[key] = recorded[1:]
        return recorded[0]


def _outputs(row: Row) -> tuple[str, ...]:
    found = as_list(row.get("output"))
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise row.refuse("its `output` is neither text nor a list of texts")
    return tuple(texts)
