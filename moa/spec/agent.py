"""What users write about an agent: its words, what it hears, and how its reply is read."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from moa.spec.words import refuse_secrets

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
"""A name that a template can use."""
Reads = Literal["text", "choice", "score", "ranking", "json", "preference"]


class Spec(BaseModel):
    """Base of everything users write: frozen, strict about unknown keys, and silent about values in errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_number(cls, value: object, info: ValidationInfo) -> object:
        """Python counts True as 1; a user who writes `samples: true` means something else."""
        if isinstance(value, bool) and _takes_number(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError(f"expected a number, not `{str(value).lower()}`")
        return value


def _takes_number(annotation: object) -> bool:
    members = {annotation, *get_args(annotation)}
    return bool(members & {int, float}) and bool not in members


class Sampling(Spec):
    """How a model draws its reply, in the OpenAI API's terms; `None` leaves a field to the model."""

    temperature: float | None = Field(None, ge=0, le=5)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    """The longest reply, in tokens."""
    stop: tuple[str, ...] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0)
    response_format: dict[str, JsonValue] | None = None
    tools: tuple[dict[str, JsonValue], ...] | None = None
    tool_choice: JsonValue = None
    reasoning_effort: str | None = None
    body: dict[str, JsonValue] = Field(default_factory=dict)
    """Any other field of the request body, passed through unchanged."""

    @field_validator("body")
    @classmethod
    def _without_secrets(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        refuse_secrets(value)
        return value

    def over(self, base: Sampling) -> Sampling:
        """These values where they are set, else those of `base`."""
        merged = base.model_dump(exclude_none=True) | self.model_dump(exclude_none=True)
        merged["body"] = base.body | self.body
        return Sampling.model_validate(merged)

    def params(self) -> dict[str, Any]:
        """The fields of a request body that are set."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"body"}) | dict(self.body)


class Arity(Spec):
    """How many responses an input takes: at least `min`, at most `max` (None: no bound)."""

    min: int = Field(1, ge=0)
    max: int | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Arity:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"at most {self.max} is less than at least {self.min}")
        return self

    def __str__(self) -> str:
        if self.max is None:
            return f"at least {self.min}"
        return f"exactly {self.min}" if self.max == self.min else f"{self.min} to {self.max}"

    def accepts(self, count: int) -> bool:
        """Whether `count` responses are allowed."""
        return self.min <= count and (self.max is None or count <= self.max)


def _read_arity(value: object) -> object:
    """Short forms: `1` exactly one, `1+` one or more, `2-6` a range."""
    match = re.fullmatch(r"(\d+)(\+|-(\d+))?", str(value)) if isinstance(value, int | str) else None
    if match is None or isinstance(value, bool):
        if isinstance(value, str | bool):
            raise ValueError("expected a count such as `1` (exactly one), `1+` (one or more) or `2-6`")
        return value
    low, suffix, high = int(match[1]), match[2], match[3]
    return {"min": low, "max": None if suffix == "+" else int(high or low)}


class AgentSpec(Spec):
    """An agent: a prompt template and the way its reply is read.

    Templates are jinja2. They see `question` (the latest user turn, text), one list per input
    (each item has `text`, `label`, `score`, `model` and `node`), the node's own `vars`, and what is `given`
    with the question.
    """

    name: str = ""
    description: str = ""
    source: str | None = None
    """The paper that the agent comes from."""
    system: str | None = None
    """Appended to the conversation's system message after a blank line, or put in front as a new one."""
    user: str | None = None
    """Stands in for the latest user turn; without it the user's turns stay as they are."""
    inputs: dict[Identifier, Annotated[Arity, BeforeValidator(_read_arity)]] = Field(default_factory=dict)
    """What the agent hears, by name; a node that lists inputs without names fills the first."""
    vars: dict[Identifier, JsonValue] = Field(default_factory=dict)
    """Values that the templates use and that a node may replace."""
    given: tuple[Identifier, ...] = ()
    """Values that come with each question, from whoever asks it: what a judge is to judge."""
    reads: Reads = "text"
    """How the reply is read: as it is; the number of one candidate; a number; an order; an object; the probability
    that the first of two `labels` wins."""
    pattern: str | None = None
    """A regular expression whose last match's first group is read instead of the default."""
    sampling: Sampling = Sampling()

    @field_validator("pattern")
    @classmethod
    def _a_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _names_apart(self) -> AgentSpec:
        names = [*self.vars, *self.inputs, *self.given, "question"]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"`{name}` stands for two things: give the input or the variable another name"
                )
        return self
