"""POST /v1/decisions: closed questions, answered by pooling the probabilities of an ensemble's members."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiohttp import web

from moa.backends.base import Usage
from moa.errors import MoaError
from moa.evaluate.judges.fence import dress
from moa.run.flow import cancel_all
from moa.run.reply import Reply
from moa.serve.body import read_object
from moa.serve.context import CONTEXT, Context
from moa.serve.decide import Held, decision_plan, members, pooled, read_held
from moa.serve.decisions_request import (
    DecisionQuestion,
    DecisionsRequest,
    Option,
    Turn,
    read_decisions,
    words_of,
)
from moa.serve.house import HOUSE, House, Served
from moa.serve.refusal import refusal_of
from moa.serve.responses_reply import usage_of

Json = dict[str, Any]
TOGETHER = 32
"""Questions of one request that are asked at once."""


class Decided(NamedTuple):
    """What the members hold of one question; `held` runs parallel to the members, None for one that said nothing."""

    reply: Reply
    models: tuple[str, ...]
    held: tuple[Held | None, ...]


async def decisions(request: web.Request) -> web.Response:
    """Answer every question, or refuse it where no member says anything that can be read."""
    house, context = request.app[HOUSE], request[CONTEXT]
    wanted = read_decisions(await read_object(request))
    context.model = wanted.model
    served, turns = house.find(wanted.model), wanted.turns
    async with house.admission.place(context.tenant):
        decided = await _all(house, context, served, wanted, turns)
    usage = sum((each.reply.usage for each in decided), Usage())
    costs = [each.reply.cost for each in decided]
    context.usage = usage
    context.cost = None if None in costs else sum(cost for cost in costs if cost is not None)
    if house.runner.store is not None:
        await house.runner.store.flush()
    pairs = zip(wanted.questions, decided, strict=True)
    return web.json_response(
        {
            "model": wanted.model,
            "answers": [_answer(question, each, wanted) for question, each in pairs],
            "usage": usage_of(usage),
            **({"moa": [_shown(each) for each in decided]} if wanted.moa.nodes else {}),
        }
    )


async def _all(
    house: House, context: Context, served: Served, wanted: DecisionsRequest, turns: Sequence[Turn]
) -> list[Decided]:
    places = asyncio.Semaphore(TOGETHER)

    async def one(number: int, question: DecisionQuestion) -> Decided:
        async with places:
            return await _decide(house, context, served, question, turns, f"questions[{number}].instructions")

    tasks = [asyncio.create_task(one(n, question)) for n, question in enumerate(wanted.questions)]
    try:
        return [await task for task in tasks]
    finally:
        await cancel_all(tasks)


async def _decide(
    house: House,
    context: Context,
    served: Served,
    question: DecisionQuestion,
    turns: Sequence[Turn],
    place: str,
) -> Decided:
    models, options = members(served.plan), question.options
    labels = [option.label for option in options]
    known = (served.id, *labels)
    plan = house.plans.get(known) or decision_plan(models, labels, house.runner.models)
    house.plans[known] = plan
    asked = words_of(question.instructions, place)
    texts = [asked, *(turn.text for turn in turns)]
    given = {
        "fence": dress(house.runner.seed, texts).fence,
        "turns": [turn._asdict() for turn in turns],
        "instructions": asked,
        "options": [option._asdict() for option in options],
    }
    reply = await house.answer(context, plan, asked, seed=house.runner.seed, given=given)
    results = [node for node in reply.nodes if node.id != plan.answer]
    if isinstance(reply.error, MoaError) and not any(node.usable for node in results):
        raise refusal_of(reply.error, detailed=house.settings.detailed)
    held = tuple(read_held(labels, node.text, node.logprobs) if node.usable else None for node in results)
    return Decided(reply, tuple(node.model or "" for node in results), held)


def _answer(question: DecisionQuestion, decided: Decided, wanted: DecisionsRequest) -> Json:
    said = [held for held in decided.held if held is not None]
    if not said:
        return {"type": "refusal", "name": question.name}
    shares = pooled(said, wanted.moa.pool)
    options = question.options
    about = {"type": question.type, "name": question.name}
    if question.type == "predicate":
        return {**about, "probability": shares[0]}
    best = max(range(len(options)), key=shares.__getitem__)
    pairs = list(zip(options, shares, strict=True))
    if question.type == "choice":
        listed = [{"value": option.value, "probability": share} for option, share in pairs]
        return {
            **about,
            "choice": options[best].value,
            "confidence": shares[best],
            "probabilities": listed,
        }
    return {
        **about,
        "score": sum(number * share for number, share in enumerate(shares)),
        "confidence": shares[best],
        "probabilities": _levels(question, pairs),
    }


def _levels(question: DecisionQuestion, pairs: Sequence[tuple[Option, float]]) -> list[Json]:
    levels = question.levels or []
    return [
        {"label": level.label, "value": option.value, "probability": share}
        for level, (option, share) in zip(levels, pairs, strict=True)
    ]


def _shown(decided: Decided) -> list[Json]:
    """What each member holds."""
    return [
        {"model": model, "probabilities": held.probabilities, "method": held.method}
        if held is not None
        else {"model": model, "probabilities": None, "method": None}
        for model, held in zip(decided.models, decided.held, strict=True)
    ]
