"""From a request's body to vLLM's sampling parameters, field by field; what is not known is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from moa.backends.base import LABELS
from moa.backends.labels import TOKEN_IDS
from moa.errors import BadRequestError

EXPLICIT: Mapping[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
    "min_tokens": 0,
    "ignore_eos": False,
    "skip_special_tokens": True,
    "spaces_between_special_tokens": True,
    "include_stop_str_in_output": False,
}
"""Fields that are always sent, with what stands for a field that nobody set."""
OPTIONAL = frozenset(
    {
        "stop",
        "stop_token_ids",
        "bad_words",
        "allowed_token_ids",
        "prompt_logprobs",
        "thinking_token_budget",
        TOKEN_IDS,
    }
)
"""Fields that are sent as they are, where they are set."""
CHAT = frozenset(
    {"chat_template_kwargs", "add_generation_prompt", "continue_final_message", "reasoning_effort"}
)
"""Fields that decide how messages become a prompt."""
CONSTRAINTS = frozenset({"json", "regex", "choice", "grammar", "json_object", "structural_tag"})
LENGTHS = ("max_completion_tokens", "max_tokens")
ENGINE_FIELDS = frozenset({"n", "seed", "stream", "stream_options", "model", "messages"})
"""Fields that are ours to set."""
_CONVERTED = frozenset(
    {
        *LENGTHS,
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "response_format",
        "structured_outputs",
        "cache_salt",
        LABELS,
    }
)
KNOWN = frozenset({*EXPLICIT, *OPTIONAL, *CHAT, *_CONVERTED})
_INSTEAD = {
    "tools": "serve the model with `vllm serve --enable-auto-tool-choice` and ask it over HTTP",
    "guided_json": "write `structured_outputs: {json: ...}`, or `response_format`",
    "guided_regex": "write `structured_outputs: {regex: ...}`",
    "guided_choice": "write `structured_outputs: {choice: [...]}`",
    "guided_grammar": "write `structured_outputs: {grammar: ...}`",
}
_INSTEAD["tool_choice"] = _INSTEAD["tools"]


class Asked(NamedTuple):
    """What a request's body asks of the engine."""

    sampling: Mapping[str, Any]
    """Arguments of `SamplingParams`, but those that depend on the prompt."""
    longest: int | None
    """`max_tokens`; None for all that the window leaves."""
    constraint: Mapping[str, Any] | None
    """Arguments of `StructuredOutputsParams`."""
    template: Mapping[str, Any]
    """Values that the chat template sees."""
    salt: str | None
    labels: tuple[str, ...]


def read_params(name: str, body: Mapping[str, Any]) -> Asked:
    """The request that a body in the OpenAI API's terms (and vLLM's additions) stands for.

    Raises:
        BadRequestError: for a field that vLLM does not have or that is of the wrong kind; names it.
    """
    set_ones = {
        field: value for field, value in body.items() if value is not None and field not in ENGINE_FIELDS
    }
    for field in set_ones:
        if field not in KNOWN:
            raise BadRequestError(f"{name}: {_unknown(field)}")
    sampling = {field: set_ones.get(field, default) for field, default in EXPLICIT.items()}
    sampling |= {field: set_ones[field] for field in OPTIONAL & set_ones.keys()}
    if (most := _logprobs(name, set_ones)) is not None:
        sampling["logprobs"] = most
    if bias := set_ones.get("logit_bias"):
        sampling["logit_bias"] = {_number(name, "logit_bias", token): value for token, value in bias.items()}
    longest = next((set_ones[field] for field in LENGTHS if field in set_ones), None)
    return Asked(
        sampling,
        None if longest is None else _number(name, "max_tokens", longest),
        _constraint(name, set_ones),
        _template(set_ones),
        set_ones.get("cache_salt"),
        tuple(set_ones.get(LABELS) or ()),
    )


def _unknown(field: str) -> str:
    if field in _INSTEAD:
        return f"vLLM does not take `{field}` in this process: {_INSTEAD[field]}"
    near = get_close_matches(field, KNOWN - {LABELS}, 1)
    hint = f" (did you mean `{near[0]}`?)" if near else ""
    return f"vLLM has no sampling field `{field}`{hint}"


def _number(name: str, field: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise BadRequestError(f"{name}: `{field}` takes whole numbers, not {value!r}") from None


def _logprobs(name: str, body: Mapping[str, Any]) -> int | None:
    """How many alternatives to list at each token; None for no log-probabilities at all."""
    wanted, most = body.get("logprobs", False), body.get("top_logprobs")
    if not isinstance(wanted, bool):
        raise BadRequestError(f"{name}: `logprobs` is true or false; `top_logprobs` says how many")
    if most and not wanted:
        raise BadRequestError(f"{name}: `top_logprobs` needs `logprobs: true`")
    # Chosen tokens come back in the place of the most probable ones.
    return int(most or 0) if wanted and not body.get(TOKEN_IDS) else None


def _constraint(name: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = body.get("structured_outputs")
    if wanted is None:
        return _format(name, body.get("response_format"))
    if not isinstance(wanted, Mapping) or len(wanted) != 1 or not wanted.keys() <= CONSTRAINTS:
        known = ", ".join(sorted(CONSTRAINTS))
        raise BadRequestError(f"{name}: `structured_outputs` takes one of {known}")
    return wanted


def _format(name: str, wanted: Any) -> Mapping[str, Any] | None:
    kind = wanted.get("type") if isinstance(wanted, Mapping) else wanted
    if kind in (None, "text"):
        return None
    if kind == "json_object":
        return {"json_object": True}
    schema = wanted.get("json_schema") if isinstance(wanted, Mapping) and kind == "json_schema" else None
    if not isinstance(schema, Mapping) or "schema" not in schema:
        raise BadRequestError(
            f"{name}: `response_format` is `{{type: json_object}}` or `{{type: json_schema, json_schema: {{schema: ...}}}}`"
        )
    return {"json": schema["schema"]}


def _template(body: Mapping[str, Any]) -> Mapping[str, Any]:
    continued = bool(body.get("continue_final_message", False))
    effort = body.get("reasoning_effort")
    return {
        "add_generation_prompt": bool(body.get("add_generation_prompt", not continued)),
        "continue_final_message": continued,
        **({} if effort is None else {"reasoning_effort": effort, "enable_thinking": effort != "none"}),
        **(body.get("chat_template_kwargs") or {}),
    }
