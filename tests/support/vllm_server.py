"""A stand-in for vLLM's server, without a model: its options and routes, and faults on demand.

`install` lays it out as a package `vllm`, so that `python -m vllm.entrypoints.openai.api_server` runs it. The variable
`STANDIN` holds JSON, faults by the first served name: `slow: SECONDS` before it listens, `dies: true` instead of
listening, `unhealthy: true`, `deaf: true` ignores SIGTERM, `crashes: N` kills itself soon in its first N lives. It
starts a process of its own, as vLLM does; GET /told has its id.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from aiohttp import web

ROOT = Path(__file__).parents[2]


def install(folder: Path, *, cpu: bool = False) -> dict[str, str]:
    """The stand-in as a package in `folder`, and the environment in which a Python finds it."""
    package = folder / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    for inner in (package, *package.relative_to(folder).parents[:-1]):
        (folder / inner / "__init__.py").touch()
    (package / "api_server.py").write_text("from tests.support.vllm_server import main\n\nmain()\n")
    torch = folder / "torch-2.0.dist-info"
    torch.mkdir()
    version = "2.0+cpu" if cpu else "2.0"
    (torch / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    return {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}


class State:
    def __init__(self, names: list[str], adapters: dict[str, str], child: int, sleeps: bool) -> None:
        self.names = names
        self.adapters = adapters
        self.child = child
        self.sleeps = sleeps
        self.asleep = False
        self.calls: list[str] = []


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="api_server.py")
    parser.add_argument("--model", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", nargs="+", required=True)
    parser.add_argument("--lora-modules", nargs="+", default=[])
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--gpu-memory-utilization", type=float)
    parser.add_argument("--generation-config")
    parser.add_argument("--scheduling-policy")
    parser.add_argument("--max-loras", type=int)
    for flag in ("enable-lora", "enable-sleep-mode", "enforce-eager", "enable-prompt-tokens-details"):
        parser.add_argument(f"--{flag}", action="store_true")
    parser.add_argument("--disable-uvicorn-access-log", action="store_true")
    parser.add_argument("--no-enable-chunked-prefill", action="store_true")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    faults: dict[str, Any] = json.loads(os.environ.get("STANDIN", "{}")).get(given.served_model_name[0], {})
    print(f"(APIServer pid={os.getpid()}) INFO 11-21 10:00:00 [api_server.py:1] vLLM stand-in", flush=True)
    if faults.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if faults.get("dies"):
        print("(EngineCore pid=7) ERROR 11-21 10:00:01 [core.py:2] Traceback (most recent call last):")
        print("(EngineCore pid=7) ERROR 11-21 10:00:01 [core.py:2] ValueError: no weights in the folder")
        print("RuntimeError: Engine core initialization failed. See root cause above.", flush=True)
        sys.exit(1)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    time.sleep(faults.get("slow", 0))
    sleeps = given.enable_sleep_mode and os.environ.get("VLLM_SERVER_DEV_MODE") == "1"
    adapters = dict(module.split("=", 1) for module in given.lora_modules)
    serve(State(given.served_model_name, adapters, child.pid, sleeps), given, faults)


def serve(state: State, given: argparse.Namespace, faults: dict[str, Any]) -> None:
    async def health(request: web.Request) -> web.Response:
        return web.Response(status=503 if faults.get("unhealthy") else 200)

    async def told(request: web.Request) -> web.Response:
        about = {"child": state.child, "pid": os.getpid(), "devices": os.environ.get("CUDA_VISIBLE_DEVICES")}
        return web.json_response({**about, "argv": sys.argv[1:], "calls": state.calls})

    async def models(request: web.Request) -> web.Response:
        names = [*state.names, *state.adapters]
        return web.json_response({"object": "list", "data": [{"id": name} for name in names]})

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        state.calls.append(f"chat {body['model']}")
        if state.asleep:
            return web.json_response({"error": {"message": "the engine sleeps"}}, status=500)
        return web.json_response(reply(body))

    async def turn(request: web.Request) -> web.Response:
        if not state.sleeps:
            raise web.HTTPNotFound
        state.asleep = request.path == "/sleep"
        state.calls.append(request.path_qs)
        return web.json_response({})

    async def is_sleeping(request: web.Request) -> web.Response:
        return web.json_response({"is_sleeping": state.asleep})

    app = web.Application()
    app.add_routes(
        [
            web.get("/health", health),
            web.get("/told", told),
            web.get("/v1/models", models),
            web.post("/v1/chat/completions", chat),
            web.post("/sleep", turn),
            web.post("/wake_up", turn),
            web.get("/is_sleeping", is_sleeping),
        ]
    )
    if faults.get("crashes", 0) > lives(given.served_model_name[0]):
        app.on_startup.append(crash_soon)
    web.run_app(app, host=given.host, port=given.port, handle_signals=not faults.get("deaf"), print=None)


async def crash_soon(app: web.Application) -> None:
    asyncio.get_running_loop().call_later(0.4, os.kill, os.getpid(), signal.SIGKILL)


def lives(name: str) -> int:
    """How often a process of this name has lived before, counted in a file."""
    count = Path(os.environ["STANDIN_LIVES"]) / name
    came = int(count.read_text()) if count.exists() else 0
    count.write_text(str(came + 1))
    return came


def reply(body: dict[str, Any]) -> dict[str, Any]:
    text = f"{body['model']} says {len(body['messages'])}"
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    choices = [{**choice, "index": index} for index in range(body.get("n") or 1)]
    return {
        "id": "1",
        "object": "chat.completion",
        "model": body["model"],
        "choices": choices,
        "usage": usage,
    }
