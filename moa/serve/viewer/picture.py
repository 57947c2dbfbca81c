"""A plan's drawing as JSON: where its nodes stand and how its edges run, for the page to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from moa.errors import UsageError
from moa.graph.layout import Box, Curve, lay_out
from moa.graph.plan import Edge, Plan, PlanNode
from moa.graph.svg import path_of
from moa.spec.agent import AgentSpec, Sampling

Json = dict[str, Any]


class Past(NamedTuple):
    """A node of a finished run, of which only this is known; those it heard come before it."""

    id: str
    agent: str | None
    model: str | None
    heard: Sequence[str]


def picture(plan: Plan) -> Json | None:
    """The drawing; None for a plan that is too large for one."""
    try:
        drawn = lay_out(plan)
    except UsageError:
        return None
    return {
        "width": round(drawn.width, 1),
        "height": round(drawn.height, 1),
        "title": plan.name,
        "boxes": [_box(box, plan.by_id[box.id]) for box in drawn.boxes],
        "frames": [
            {"x": frame.x, "y": frame.y, "width": frame.width, "height": frame.height, "title": frame.title}
            for frame in drawn.frames
        ],
        "curves": [_curve(curve) for curve in drawn.curves],
    }


def past_plan(name: str, nodes: Sequence[Past], answer: str) -> Plan:
    """A plan that looks like the run that left these nodes; it can be drawn and not be run.

    Whatever a file says, nobody hears a later node or himself, and an id counts once.
    """
    heard: dict[str, list[str]] = {}
    first: list[Past] = []
    for node in nodes:
        if node.id not in heard:
            heard[node.id] = [id for id in node.heard if id in heard]
            first.append(node)
    distance = dict.fromkeys(heard, 0)
    for node in reversed(first):
        for source in heard[node.id]:
            distance[source] = max(distance[source], distance[node.id] + 1)
    made = [
        PlanNode(
            id=node.id,
            group=node.id.partition("[")[0],
            agent=AgentSpec.model_construct(name=node.agent) if node.agent else None,
            select=None,
            model=node.model,
            inputs=tuple(Edge("references", source) for source in heard[node.id]),
            sample=0,
            sampling=Sampling(),
            distance=distance[node.id],
        )
        for node in first
    ]
    return Plan(name, tuple(made), answer, "")


def _box(box: Box, node: PlanNode) -> Json:
    return {
        "id": box.id,
        "x": box.x,
        "y": box.y,
        "width": box.width,
        "height": box.height,
        "role": box.role,
        "name": box.name,
        "small": box.small,
        "answers": box.answers,
        "agent": node.does,
        "model": node.model,
        "heard": node.sources,
    }


def _curve(curve: Curve) -> Json:
    end = curve.points[-1]
    short = curve._replace(points=(*curve.points[:-1], end._replace(y=end.y - 5)))
    return {
        "path": path_of(short),
        "end": [end.x, end.y],
        "thick": curve.thick,
        "dashed": curve.dashed,
        "label": curve.label,
        "label_at": [curve.label_at.x, curve.label_at.y],
        "source": curve.source,
        "target": curve.target,
    }
