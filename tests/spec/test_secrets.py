"""Credentials are refused wherever they turn up in a file, and never repeated."""

from __future__ import annotations

import traceback

import pytest
from pydantic import ValidationError

from moa.errors import SpecError
from moa.spec.agent import AgentSpec, Sampling, Spec
from moa.spec.graph import GraphSpec
from moa.spec.loader import read_spec
from moa.spec.model import ModelSpec, ModelsSpec
from moa.spec.words import is_secret_name, quote, redact

KEY = "sk-proj-4fZ9qLxT81abcd"
PLACES = [
    (ModelsSpec, "models: {a: {provider: openai, api_key: %s}}\n"),
    (ModelsSpec, "models: {a: {provider: openai, key: %s}}\n"),
    (ModelsSpec, "models: {a: {provider: openai, token: [%s]}}\n"),
    (ModelsSpec, "models: {a: {provider: openai, OPENAI_API_KEY: %s}}\n"),
    (ModelsSpec, "models: {a: {provider: openai, key_env: %s}}\n"),
    (ModelsSpec, "models: {a: {provider: openai, kye_env: %s}}\n"),
    (ModelsSpec, "models: {a: {provider: openai, body: {api_key: %s}}}\n"),
    (ModelsSpec, "models: {a: {provider: openai, body: {headers: {Authorization: %s}}}}\n"),
    (ModelsSpec, "models: {a: {provider: openai, options: {access_token: %s}}}\n"),
    (ModelsSpec, "models: {a: {provider: openai, sampling: {body: {apikey: %s}}}}\n"),
    (ModelsSpec, 'models: {a: {base_url: "http://me:%s@host/v1"}}\n'),
    (ModelsSpec, 'models: {a: {base_url: "http://host/v1?api_key=%s"}}\n'),
    (ModelsSpec, "models: {a: {base_url: %s}}\n"),
    (ModelsSpec, "models: {a: {provider: openai, price: %s}}\n"),
    (ModelsSpec, "models: {a: {provider: openai, context: %s}}\n"),
    (ModelsSpec, "models: {a: %s}\n"),
    (ModelsSpec, "models: {a: {provider: openai, api_key: %s\n"),
    (ModelsSpec, "models: {a: {provider: openai, api_key: *%s}}\n"),
    (ModelsSpec, "models: {a: {provider: openai, api_key: !%s x}}\n"),
    (ModelsSpec, "models: {a: {provider: openai, api_key: !!int %s}}\n"),
    (ModelsSpec, "models: {a: {provider: openai, api_key: !!timestamp %s}}\n"),
    (ModelsSpec, "models: {a: {provider: openai}}\n%s: 1\n%s: 2\n"),
    (ModelsSpec, "api_key: %s\n"),
    (AgentSpec, "api_key: %s\n"),
    (AgentSpec, "reads: %s\n"),
    (AgentSpec, "sampling: {temperature: %s}\n"),
    (AgentSpec, "sampling: {stop: %s}\n"),
    (AgentSpec, "system: '{%% %s %%}'\n"),
    (GraphSpec, "api_key: %s\nnodes: {a: {agent: p}}\n"),
    (GraphSpec, "nodes: {a: {agent: {api_key: %s}}}\n"),
    (GraphSpec, "nodes: {a: {agent: p, subsets: %s}}\n"),
    (GraphSpec, "nodes: {2%s: {agent: p}}\n"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), PLACES)
def test_a_key_is_refused_and_never_repeated(kind: type[Spec], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(text.replace("%s", KEY).replace("%%", "%"), "f", kind)
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY[:9] not in shown
    assert KEY[8:] not in shown


@pytest.mark.parametrize(
    "place", ["api_key: %s", "password: %s", "key: %s", "X-Api-Key: %s", "auth_token: %s"]
)
def test_the_value_of_a_secret_key_needs_no_known_shape(place: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(f"models: {{a: {{provider: x, {place % 'hunter2'}}}}}\n", "f", ModelsSpec)
    assert "hunter2" not in str(caught.value)
    assert "key_env: NAME_OF_VARIABLE" in str(caught.value)


def test_python_never_shows_it_either() -> None:
    with pytest.raises(ValidationError) as caught:
        ModelSpec.model_validate({"provider": "openai", "api_key": KEY})
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value)


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "my_key", "TEAM_2_PRODUCTION_OPENAI_API_KEY_2026"])
def test_names_of_variables_are_taken(variable: str) -> None:
    assert ModelSpec(provider="openai", key_env=variable).key_env == variable


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "https://x.openai.azure.com/openai/v1?api-version=preview"]
)
def test_plain_addresses_are_taken(url: str) -> None:
    assert ModelSpec(base_url=url).base_url == url


def test_ordinary_request_fields_are_taken() -> None:
    body = {"max_tokens": 5, "metadata": {"tokens": "many", "monkey": "x"}, "token_ids": [1]}
    assert Sampling(body=body).body == body


@pytest.mark.parametrize(
    "name", ["api_key", "apiKey", "OPENAI_API_KEY", "x-api-key", "password", "secret", "access_token"]
)
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["max_tokens", "key_env", "monkey", "keep", "tokenizer", "tokens"])
def test_other_names(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "text",
    [
        "local:smollm2-135m",
        "meta-llama/Llama-3.1-405B-Instruct-Turbo",
        "sketch",
        "hf-proposers",
        "task-force",
        "gpt-4o-2024-08-06",
    ],
)
def test_names_of_models_are_not_taken_for_keys(text: str) -> None:
    assert redact(text) == text


def test_quote_is_one_short_line() -> None:
    assert quote("two\nlines\x1b") == "`two lines`"
    assert quote("x" * 99) == f"`{'x' * 59}…`"
