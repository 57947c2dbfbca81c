"""Members that ask nobody."""

from __future__ import annotations

import pytest

import moa
from moa.backends.base import Delta, Request
from moa.backends.constant import Constant, Echo
from moa.backends.resolve import connect, model_spec
from moa.errors import UsageError
from moa.graph.bind import Bindings
from moa.spec.model import ModelSpec


async def test_says_the_same_to_everything_and_uses_nothing() -> None:
    backend = connect(model_spec("constant:I refuse, politely."))
    seen: list[Delta] = []
    for question in ("Why?", "How?"):
        reply = await backend.complete(Request(({"role": "user", "content": question},), n=2), seen.append)
        assert [choice.text for choice in reply.choices] == ["I refuse, politely."] * 2
        assert reply.usage.total_tokens == 0
    assert [delta.index for delta in seen] == [0, 1, 0, 1]
    assert model_spec("constant:x").known_price is not None


async def test_an_echo_repeats_the_latest_turn() -> None:
    backend = Echo(model_spec("echo:"))
    turns = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say\nthis. "})
    assert (await backend.complete(Request(turns))).choices[0].text == "Say\nthis."


async def test_nothing_to_say_is_refused() -> None:
    with pytest.raises(UsageError, match="'constant:' names no model"):
        model_spec("constant:")
    with pytest.raises(UsageError, match="write constant:TEXT"):
        await Constant(ModelSpec(name="n", provider="constant", model=" ")).complete(Request(()))


def test_commas_of_a_constant_text_are_its_own() -> None:
    assert Bindings.parse(["x=constant:Yes, of course"]).models_of("x") == ("constant:Yes, of course",)
    assert Bindings.parse(["x=sim:a,sim:b"]).models_of("x") == ("sim:a", "sim:b")


def test_an_impostor_costs_nothing_in_a_graph() -> None:
    graph = moa.attack(moa.load("moa-lite", models="sim:"), {"drafts[1]": "impostor@echo:"})
    node = next(node for node in graph.run_sync("Why?").nodes if node.id == "drafts[1]")
    assert node.text.startswith("Structured reply:") and node.usage.total_tokens == 0 and node.cost == 0
