"""The application: one place where every address and everything round it is put together."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from moa.run.runner import Runner
from moa.serve import ollama, ollama_embed
from moa.serve.chat import chat_completions
from moa.serve.decisions import decisions
from moa.serve.door import forgiving, guarded, logged
from moa.serve.health import healthz, readyz
from moa.serve.house import HOUSE, House, Served, Settings
from moa.serve.listing import list_models, show_model
from moa.serve.messages import count_tokens, messages
from moa.serve.metrics import metrics
from moa.serve.openapi import openapi
from moa.serve.relay import completions, embeddings
from moa.serve.responses import responses


def make_app(served: Iterable[Served], runner: Runner, settings: Settings | None = None) -> web.Application:
    """An aiohttp application that answers with `served`; the caller opens and closes the runner.

    Run it with `handler_cancellation=True`, or a client that leaves is worked for to the end; `serve` does.
    """
    settings = settings or Settings()
    app = web.Application(middlewares=[logged, forgiving, guarded], client_max_size=settings.body_limit)
    runner.expect(settings.max_running)
    app[HOUSE] = House(served, runner, settings)
    app.add_routes(
        [
            web.post("/v1/chat/completions", chat_completions),
            web.post("/v1/responses", responses),
            web.post("/v1/messages", messages),
            web.post("/v1/messages/count_tokens", count_tokens),
            web.post("/v1/decisions", decisions),
            web.post("/v1/completions", completions),
            web.post("/v1/embeddings", embeddings),
            web.post("/api/chat", ollama.chat),
            web.post("/api/generate", ollama.generate),
            web.post("/api/show", ollama.show),
            web.post("/api/embed", ollama_embed.embed),
            web.post("/api/embeddings", ollama_embed.embeddings),
            web.get("/api/tags", ollama.tags),
            web.get("/api/ps", ollama.loaded),
            web.get("/api/version", ollama.version),
            web.get("/v1/models", list_models),
            web.get("/v1/models/{model:.+}", show_model),
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            web.get("/openapi.json", openapi),
        ]
    )
    app.on_response_prepare.append(_unsigned)
    return app


async def _unsigned(request: web.Request, response: web.StreamResponse) -> None:
    """Say nothing of versions."""
    response.headers["server"] = "moa"
