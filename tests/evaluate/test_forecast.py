"""What an evaluation is expected to take, where selectors ask models for numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import moa
from moa.evaluate.board import board
from moa.evaluate.entrants import Contender
from moa.evaluate.folder import Folder
from moa.evaluate.forecast import REPLY, Amounts, forecast
from moa.evaluate.records import Item
from moa.spec.model import ModelSpec
from tests.evaluate.report.sample import write_choices

ITEMS = [Item(id=str(number), turns=("Why is it so?",)) for number in range(3)]
PRICES: dict[str, dict[str, Any]] = {"t:a": {"input": 0, "output": 0}, "t:r": {"input": 2, "output": 0}}


def lookup(name: str) -> ModelSpec:
    return ModelSpec.model_validate(
        {"name": name, "provider": "openai", "model": name, "price": PRICES[name]}
    )


def test_what_a_reward_model_reads_is_in_the_tokens_and_the_bill_and_not_in_the_calls(tmp_path: Path) -> None:
    write_choices(tmp_path, graphs=["self-moa"])
    [row] = board([Folder(tmp_path)], bootstrap=10).rows

    def expected(selecting: str | dict[str, Any]) -> Amounts:
        graph = moa.Graph("best")
        drafts = graph.agent("proposer", model="t:a", samples=4)
        graph.answer = graph.select(selecting, inputs=drafts)
        found = forecast(ITEMS, [Contender(row.entrant, graph.plan())], None, None, lookup)
        return found.total

    plain, rewarded = expected("first"), expected({"top-k": {"scorer": "t:r"}})
    assert plain.calls == rewarded.calls == 3 * 4
    assert plain.output_tokens == rewarded.output_tokens == 3 * 4 * REPLY
    read = rewarded.input_tokens - plain.input_tokens
    assert read >= 3 * 4 * REPLY
    assert plain.usd == 0 and rewarded.usd is not None
    assert abs(rewarded.usd - 2 * read / 1e6) < 1e-9
