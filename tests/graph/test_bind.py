"""Bindings: what `-m` and a models.yaml say about slots."""

from __future__ import annotations

from pathlib import Path

import pytest

from moa.errors import SpecError, UsageError
from moa.graph.bind import DEFAULT_MODEL, Bindings, bound
from moa.spec.model import ModelSpec


@pytest.mark.parametrize(
    ("option", "slots", "rest"),
    [
        ("a=openai:gpt-5-nano", {"a": "openai:gpt-5-nano"}, None),
        ("judge-2=http://h:1/v1#a=b", {"judge-2": "http://h:1/v1#a=b"}, None),
        ("http://h:1/v1#a=b", {}, "http://h:1/v1#a=b"),
        ("sim:skill=0.8", {}, "sim:skill=0.8"),
        ("big", {}, "big"),
    ],
)
def test_option_is_a_slot_and_a_model_or_a_model(
    option: str, slots: dict[str, str], rest: str | None
) -> None:
    bindings = Bindings.parse([option])
    assert (dict(bindings.slots), bindings.rest) == (slots, rest)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["a="], "no model after"),
        (["=x:y"], "no slot before"),
        ([""], "needs a model"),
        (["  "], "needs a model"),
        (["a=x:y", "a=x:z"], "already bound to `x:y`"),
        (["x:y", "x:z"], "already the model"),
    ],
)
def test_wrong_option_names_itself_and_the_remedy(options: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Bindings.parse(options)


def test_rules_of_model_of_in_order() -> None:
    big = ModelSpec(provider="openai", model="gpt")
    bindings = Bindings({"a": "big", "c": "x:y"}, "r:est", {"big": big})
    assert bindings.model_of("a") == "big"
    assert bindings.model_of("big") == "big"
    assert bindings.model_of("openai:gpt") == "openai:gpt"
    assert bindings.model_of("other") == "r:est"


def test_nothing_bound_is_the_embedded_model() -> None:
    assert Bindings.parse().model_of("a") == DEFAULT_MODEL


def test_a_slot_left_over_says_how_to_bind_it() -> None:
    with pytest.raises(
        SpecError, match=r"slot `b` is not bound: add -m b=MODEL \(or -m MODEL for every slot\)"
    ):
        Bindings.parse(["a=x:y"]).model_of("b")


def test_a_models_file_gives_models_and_slots_that_options_override(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("models:\n  big: {provider: openai, model: gpt}\nslots: {a: big, judge: big}\n")
    bindings = Bindings.parse(["a=x:y", "b=big"], file)
    assert dict(bindings.slots) == {"a": "x:y", "b": "big", "judge": "big"}
    assert bindings.shared == {"judge"}
    assert bindings.models["big"].model == "gpt"
    assert bindings.model_of("judge") == bindings.model_of("big") == "big"


def test_a_models_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        Bindings.parse([], tmp_path / "models.yaml")


def test_slots_are_told_from_models() -> None:
    bindings = Bindings({"a": "x:y"}, None, {"big": ModelSpec(provider="openai")})
    assert [name for name in ("a", "b", "big", "x:y") if bindings.is_slot(name)] == ["a", "b"]


def test_models_with_commas_between_them_are_several_for_one_slot() -> None:
    bindings = Bindings.parse(["members=x:y, sim:skill=0.8,length=9,big", "a=sim:skill=0.8,length=9"])
    assert bindings.models_of("members") == ("x:y", "sim:skill=0.8,length=9", "big")
    assert bindings.models_of("a") == ("sim:skill=0.8,length=9",)
    assert bindings.model_of("a") == "sim:skill=0.8,length=9"


@pytest.mark.parametrize("option", ["members=x:y,,z:w", "members=x:y,", "members=,x:y"])
def test_a_comma_without_a_model_is_refused(option: str) -> None:
    with pytest.raises(UsageError, match="a comma without a model"):
        Bindings.parse([option])


def test_several_models_where_one_is_asked_say_what_to_write() -> None:
    with pytest.raises(SpecError, match=r"bound to 2 models, and one is asked here.*`models: \[a\]`"):
        Bindings.parse(["a=x:y,x:z"]).model_of("a")


def test_a_slot_bound_twice_names_all_that_it_has() -> None:
    with pytest.raises(UsageError, match="already bound to `x:y,x:z`"):
        Bindings.parse(["a=x:y,x:z", "a=x:w"])


def test_a_models_file_lists_the_models_of_a_slot(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("models:\n  big: {provider: openai}\nslots: {members: [big, 'x:y'], one: big}\n")
    bindings = Bindings.parse([], file)
    assert bindings.models_of("members") == ("big", "x:y")
    assert bindings.models_of("one") == ("big",)


def test_python_binds_a_list_and_refuses_an_empty_one() -> None:
    assert bound(["x:y", "x:z"]) == ("x:y", "x:z")
    assert bound("x:y") == "x:y"
    with pytest.raises(UsageError, match="at least one model"):
        bound([])
