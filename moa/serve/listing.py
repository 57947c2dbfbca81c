"""GET /v1/models: every ensemble is a model, and so are the plain models where they are shown."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from moa.serve.house import HOUSE, House, Served


async def list_models(request: web.Request) -> web.Response:
    """All model ids."""
    house = request.app[HOUSE]
    return web.json_response(
        {"object": "list", "data": [_described(house, each) for each in house.served.values()]}
    )


async def show_model(request: web.Request) -> web.Response:
    """One model; ids may hold slashes."""
    house = request.app[HOUSE]
    return web.json_response(_described(house, house.find(request.match_info["model"])))


def _described(house: House, served: Served) -> dict[str, Any]:
    return {
        "id": served.id,
        "object": "model",
        "created": house.began,
        "owned_by": "moa",
        "moa": {"kind": served.kind, "description": served.description, "nodes": len(served.plan.nodes)},
    }
