"""A request's body in vLLM's terms: nothing left to defaults, nothing ignored in silence."""

from __future__ import annotations

from typing import Any

import pytest

from moa.backends.base import LABELS
from moa.backends.vllm.sampling import EXPLICIT, read_params
from moa.errors import BadRequestError
from moa.spec.agent import Sampling


def test_every_sampling_field_is_sent_even_where_nobody_set_it() -> None:
    asked = read_params("m", {})
    assert asked.sampling == EXPLICIT
    assert asked.sampling["temperature"] == 1.0
    assert asked.longest is None and asked.constraint is None and asked.labels == ()
    assert asked.template == {"add_generation_prompt": True, "continue_final_message": False}


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({"temperature": 0.3, "top_k": 5}, {"temperature": 0.3, "top_k": 5, "top_p": 1.0}),
        ({"stop": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"logprobs": True}, {"logprobs": 0}),
        ({"logprobs": True, "top_logprobs": 4}, {"logprobs": 4}),
        ({"logprobs": False}, {}),
        ({"logit_bias": {"17": -100}}, {"logit_bias": {17: -100}}),
        ({"prompt_logprobs": 0}, {"prompt_logprobs": 0}),
        ({"logprobs": True, "logprob_token_ids": [1, 2]}, {"logprob_token_ids": [1, 2]}),
        ({"ignore_eos": True, "min_tokens": 3}, {"ignore_eos": True, "min_tokens": 3}),
    ],
)
def test_fields_are_translated(body: dict[str, Any], sent: dict[str, Any]) -> None:
    sampling = read_params("m", body).sampling
    assert {field: sampling[field] for field in sent} == sent
    assert sampling.keys() == EXPLICIT.keys() | sent.keys()


def test_all_that_an_agent_can_say_is_known() -> None:
    said = {
        "logprobs": True,
        "top_logprobs": 1,
        "response_format": {"type": "text"},
        "reasoning_effort": "low",
    }
    numbers = set(Sampling.model_fields) - said.keys() - {"body", "tools", "tool_choice", "stop"}
    body = said | dict.fromkeys(numbers, 1) | {"stop": ["x"]}
    assert read_params("m", Sampling.model_validate(body).params()).longest == 1


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_longest_reply_has_two_names(field: str) -> None:
    assert read_params("m", {field: 7}).longest == 7


@pytest.mark.parametrize(
    ("body", "constraint"),
    [
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, {"json_object": True}),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "object"}},
                }
            },
            {"json": {"type": "object"}},
        ),
        ({"structured_outputs": {"choice": ["a", "b"]}}, {"choice": ["a", "b"]}),
    ],
)
def test_forms_of_a_reply(body: dict[str, Any], constraint: object) -> None:
    assert read_params("m", body).constraint == constraint


def test_what_the_template_sees() -> None:
    body = {
        "continue_final_message": True,
        "reasoning_effort": "none",
        "chat_template_kwargs": {"style": "brief"},
    }
    assert read_params("m", body).template == {
        "add_generation_prompt": False,
        "continue_final_message": True,
        "reasoning_effort": "none",
        "enable_thinking": False,
        "style": "brief",
    }


def test_labels_and_salt_are_told_apart() -> None:
    asked = read_params("m", {LABELS: ["m", "M"], "cache_salt": "tenant"})
    assert (asked.labels, asked.salt) == (("m", "M"), "tenant")


def test_what_the_engine_sets_itself_is_left_out() -> None:
    assert read_params("m", {"n": 3, "seed": 1, "stream": True, "model": "x"}) == read_params("m", {})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"temprature": 1}, "no sampling field `temprature` (did you mean `temperature`?)"),
        ({"guided_json": {}}, "`guided_json` in this process: write `structured_outputs: {json: ...}`"),
        ({"tools": [{}]}, "`tools` in this process: serve the model"),
        ({"top_logprobs": 3}, "`top_logprobs` needs `logprobs: true`"),
        ({"logprobs": 5}, "`logprobs` is true or false"),
        ({"structured_outputs": {"jsn": {}}}, "takes one of choice, grammar, json"),
        ({"response_format": {"type": "json_schema"}}, "`response_format` is"),
        ({"logit_bias": {"word": 1}}, "`logit_bias` takes whole numbers"),
        ({"max_tokens": "many"}, "`max_tokens` takes whole numbers"),
    ],
)
def test_mistakes_are_named(body: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        read_params("small", body)
    assert said in str(caught.value) and str(caught.value).startswith("small: ")
