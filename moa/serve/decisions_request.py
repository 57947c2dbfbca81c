"""What a client may ask of POST /v1/decisions: closed questions about one input."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, StrictBool, StringConstraints, ValidationError, field_validator

from moa.serve.body import Fields, refusal_for
from moa.serve.refusal import bad

Json = dict[str, Any]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Text = Annotated[str, StringConstraints(strict=True, min_length=1)]


class Turn(NamedTuple):
    """A part of the input: who said it, and what."""

    role: str
    text: str


class Option(NamedTuple):
    """One answer to a question: what stands for it in the prompt, what it means, and the client's own value."""

    label: str
    text: str
    value: str | bool | int


class ChoiceOption(Fields):
    """One of the `choices` of a question."""

    value: StrictBool | Annotated[str, StringConstraints(strict=True)]
    description: str | None = None


class Level(Fields):
    """One of the `levels` of a score."""

    label: Text
    description: str | None = None


class DecisionQuestion(Fields):
    """One closed question."""

    type: Literal["predicate", "choice", "score"]
    instructions: Text | list[Json]
    name: str | None = None
    choices: Annotated[list[ChoiceOption], Field(min_length=2, max_length=len(LETTERS))] | None = None
    levels: Annotated[list[Level], Field(min_length=2, max_length=10)] | None = None

    @field_validator("choices")
    @classmethod
    def _unlike(cls, choices: list[ChoiceOption] | None) -> list[ChoiceOption] | None:
        values = [(type(choice.value), choice.value) for choice in choices or ()]
        if len(set(values)) < len(values):
            raise ValueError("two choices have the same value")
        return choices

    @property
    def options(self) -> tuple[Option, ...]:
        """What a member may answer."""
        if self.type == "predicate":
            return Option("Yes", "it is so", True), Option("No", "it is not so", False)
        if self.type == "choice":
            return tuple(
                Option(LETTERS[n], _described(str(choice.value), choice.description), choice.value)
                for n, choice in enumerate(self.choices or ())
            )
        return tuple(
            Option(str(n), _described(level.label, level.description), n)
            for n, level in enumerate(self.levels or ())
        )


class DecisionExtras(Fields):
    """`moa`: how members are pooled, and whether each is shown."""

    pool: Literal["linear", "log"] = "linear"
    nodes: StrictBool = False


class DecisionsRequest(Fields):
    """The fields of a request that mean something here."""

    model: Text
    input: Text | Annotated[list[Json], Field(min_length=1)]
    questions: Annotated[list[DecisionQuestion], Field(min_length=1, max_length=400)]
    moa: DecisionExtras = DecisionExtras()

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The input as parts; raises `Refusal` for what is no text."""
        if isinstance(self.input, str):
            return (Turn("input", self.input),)
        return tuple(_turn(item, f"input[{number}]") for number, item in enumerate(self.input))


def read_decisions(body: Mapping[str, Any]) -> DecisionsRequest:
    """A request; raises `Refusal` that names the first field that cannot be honoured."""
    try:
        wanted = DecisionsRequest.model_validate(body)
    except ValidationError as error:
        raise refusal_for(error, body) from None
    for number, question in enumerate(wanted.questions):
        field = {"choice": "choices", "score": "levels"}.get(question.type)
        if field is not None and getattr(question, field) is None:
            raise bad(f"`questions[{number}].{field}` is missing", f"questions[{number}].{field}")
    return wanted


def words_of(instructions: str | Sequence[Json], place: str) -> str:
    """A question's instructions as text; raises `Refusal` where they say nothing."""
    text = instructions if isinstance(instructions, str) else _words(instructions, place)
    if not text.strip():
        raise bad(f"`{place}` is empty: ask something", place)
    return text


def _turn(item: Json, place: str) -> Turn:
    match item.get("type", "message"):
        case "message":
            return Turn(str(item.get("role", "user")), _words(item.get("content"), place))
        case "function_call" | "custom_tool_call":
            called = item.get("arguments", item.get("input", ""))
            return Turn("call of a tool", f"{item.get('name', '')}({called})")
        case "function_call_output" | "custom_tool_call_output":
            return Turn("result of a tool", _words(item.get("output"), place))
    raise bad(f"`{place}`: items of type {item.get('type')!r} are not supported", place)


def _words(content: Any, place: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise bad(f"`{place}` has no content", place)
    return "\n".join(_part(part, place) for part in content)


def _part(part: Any, place: str) -> str:
    match part:
        case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
            return text
        case {"type": "refusal", "refusal": str(text)}:
            return text
        case {"type": str(kind)} if kind.endswith("json"):
            return json.dumps({name: value for name, value in part.items() if name != "type"})
    raise bad(f"`{place}`: only text and JSON can be decided on", place, "unsupported_parameter")


def _described(name: str, description: str | None) -> str:
    return f"{name} ({description})" if description else name
