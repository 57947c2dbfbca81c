"""Pooling what several agents have read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from moa.errors import UsageError
from moa.nodes.preference import Preference
from moa.nodes.response import Response
from moa.nodes.select_pool import Pool
from moa.spec.registry import SELECTORS
from tests.nodes.scripted import Context, said


def valued(*values: float | None) -> list[Response]:
    return [
        replace(response, value=value)
        for response, value in zip(said(*map(str, values)), values, strict=True)
    ]


@pytest.mark.parametrize(
    ("by", "values", "pooled", "kept"),
    [
        ("mean", [1.0, 0.0, 0.8], 0.6, "0.8"),
        ("median", [1.0, 0.0, 0.8], 0.8, "0.8"),
        ("majority", [1.0, 0.0, 0.8], 1.0, "1.0"),
        ("majority", [0.4, 0.4, 0.99], 0.0, "0.4"),
        ("majority", [0.9, 0.1, 0.5], 0.5, "0.5"),
        ("mean", [7.0, 8.0], 7.5, "7.0"),
    ],
)
async def test_pooled(by: str, values: list[float], pooled: float, kept: str) -> None:
    [response] = await Pool.model_validate({"by": by}).select(valued(*values), Context())
    assert response.value == pytest.approx(pooled)
    assert response.score == pytest.approx(pooled)
    assert response.text == kept


async def test_preferences_are_numbers() -> None:
    [response] = await Pool().select(valued(Preference(0.25, "logprobs"), Preference(0.75)), Context())
    assert response.value == 0.5


async def test_what_could_not_be_read_takes_no_part() -> None:
    context = Context()
    [response] = await Pool().select(valued(None, 0.75), context)
    assert response.value == 0.75
    assert context.warnings == ["1 of 2 responses could not be read"]


async def test_where_nothing_could_be_read_there_is_no_value() -> None:
    context = Context()
    [response] = await Pool().select(valued(None, None), context)
    assert (response.value, response.label) == (None, "unread")
    assert context.warnings == ["nothing could be read in any of 2 responses; there is no value"]


async def test_scores_have_no_majority() -> None:
    with pytest.raises(UsageError, match="pool scores by `mean` or `median`"):
        await Pool(by="majority").select(valued(7.0, 8.0), Context())


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ValidationError):
        Pool.model_validate({"by": "vibes"})


def test_it_is_known_by_name_and_keeps_one() -> None:
    assert SELECTORS.get("pool") is Pool
    assert (Pool().kept(5), Pool().kept(0), Pool().calls(5)) == (1, 0, 0)
