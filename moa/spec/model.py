"""What users write about models: where they are, what they cost, and how fast they may be asked."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, JsonValue, field_validator, model_validator

from moa.spec.agent import Sampling, Spec
from moa.spec.words import has_secret, is_secret_name, refuse_secrets


def _is_key(value: str) -> bool:
    """Whether a supposed variable's name looks like a key; names are upper case as a rule."""
    return has_secret(value) and value != value.upper()


class Price(Spec):
    """US dollars per million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(None, ge=0)

    def of(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
        """The price of one call in US dollars."""
        cached_rate = self.input if self.cached_input is None else self.cached_input
        fresh = (input_tokens - cached_tokens) * self.input + cached_tokens * cached_rate
        return (fresh + output_tokens * self.output) / 1e6


FREE = Price(input=0, output=0)
FREE_PROVIDERS = frozenset({"constant", "echo", "local", "sim", "replay", "transformers", "vllm"})
"""Providers that run on this machine: what they answer costs nothing unless a price says otherwise."""


class Limits(Spec):
    """How fast an endpoint may be asked; `None` leaves it to the adaptive limiter."""

    rpm: float | None = Field(None, gt=0)
    """Requests per minute."""
    tpm: float | None = Field(None, gt=0)
    """Tokens per minute, input and output."""
    concurrency: int | None = Field(None, ge=1)
    """Requests in flight at once, at most."""


class ModelSpec(Spec):
    """One model: `provider` or `base_url`, its id there, and what is known about it."""

    name: str = ""
    provider: str | None = None
    """`openai`, `openrouter`, `together`, `ollama`, `local`, ... or a plugin's name."""
    base_url: str | None = None
    """The root of an OpenAI-compatible API, such as `http://127.0.0.1:8000/v1`."""
    model: str = ""
    """The model's id at the provider; the entry's own name by default."""
    key_env: str | None = None
    """The environment variable that holds the key; never the key itself."""
    context: int | None = Field(None, ge=1)
    """The context window in tokens."""
    max_output: int | None = Field(None, ge=1)
    """The longest reply in tokens; an agent's own `max_tokens` is cut down to it."""
    price: Price | None = None
    limits: Limits = Limits()
    sampling: Sampling = Sampling()
    """Defaults for this model; an agent's and a node's own values win."""
    body: dict[str, JsonValue] = Field(default_factory=dict)
    """Extra fields for every request body."""
    device: str | None = None
    """What the model runs on, such as `gpu0`; with `--by-model` the models of one device take turns on it."""
    tokenizer: str | None = None
    """A tokenizer for `transformers` (a folder or hub id), for exact context checks."""
    file: str | None = None
    """A file on disk: the GGUF of a `local` model, the recording of a `replay` one."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Options of the provider, such as the skill of a `sim` model."""

    @field_validator("key_env")
    @classmethod
    def _a_variable(cls, value: str | None) -> str | None:
        if value is not None and (not re.fullmatch(r"[A-Za-z_]\w*", value) or _is_key(value)):
            raise ValueError(
                "takes the name of an environment variable such as OPENAI_API_KEY, never the key itself"
            )
        return value

    @field_validator("base_url")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not re.match(r"https?://[^/?#]", value, re.IGNORECASE):
            raise ValueError("expected an address such as http://127.0.0.1:8000/v1")
        queried = re.findall(r"[?&]([^=&#]+)=", value)
        if re.match(r"[^/]+//[^/]*@", value) or has_secret(value) or any(map(is_secret_name, queried)):
            raise ValueError("an address holds no credentials: use `key_env: NAME_OF_VARIABLE`")
        return value

    @field_validator("body", "options")
    @classmethod
    def _without_secrets(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        refuse_secrets(value)
        return value

    @model_validator(mode="after")
    def _somewhere(self) -> ModelSpec:
        if self.provider is None and self.base_url is None:
            raise ValueError("needs `provider` or `base_url`")
        return self

    @property
    def known_price(self) -> Price | None:
        """The price; nothing for a model that runs here, None where nobody said."""
        return FREE if self.price is None and self.provider in FREE_PROVIDERS else self.price


class ModelsSpec(Spec):
    """A `models.yaml`: models by name, and optionally which of them each slot takes."""

    models: dict[str, ModelSpec]
    slots: dict[str, str | Annotated[tuple[str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """The model that a slot takes, or several for a node that lists it under `models`."""
