"""The server against its own description: schemathesis sends what the schemas allow, and what they do not.

A hundred cases by default; `MOA_FUZZ_CASES=2000` tries at least so many.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from moa.backends.base import Request
from moa.serve.openapi import document
from moa.spec.model import ModelSpec
from tests.serve.serving import duo, serving, until, vote
from tests.serve.test_relay import Upstream
from tests.support.backends import Scripted, echo

CASES = int(os.environ.get("MOA_FUZZ_CASES", "100"))
SEED = 20261121
PLAIN = "relayed"


def written(request: Request) -> str:
    """JSON where that is wanted: an answer that is none is an error of the model."""
    return '{"a": 1}' if request.params.get("response_format") else echo(request)


def command(url: str, description: Path, report: Path) -> list[str]:
    operations = sum(len(item) for item in document()["paths"].values())
    return [
        sys.executable, "-m", "schemathesis.cli", "run", str(description),
        "--url", url,
        "--seed", str(SEED),
        # Addresses that take no body have a single case, so that the others need more.
        "--max-examples", str(-(-2 * CASES // operations)),
        "--phases", "examples,coverage,fuzzing" if CASES >= 1000 else "fuzzing",
        "--checks", "all",
        # Ours says better which valid requests are refused.
        "--exclude-checks", "positive_data_acceptance",
        "--continue-on-failure", "--no-shrink", "--no-color",
        "--generation-database", "none", "--output-sanitize", "false",
        "--warnings", "off",
        "--report", "json", "--report-json-path", str(report),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_the_server_keeps_to_its_description(tmp_path: Path) -> None:
    upstream = Upstream()
    app = web.Application()
    app.router.add_post("/v1/completions", upstream.completions)
    app.router.add_post("/v1/embeddings", upstream.embeddings)
    behind = TestServer(app)
    await behind.start_server()
    relayed = ModelSpec(name=PLAIN, base_url=str(behind.make_url("/v1")), model="inner")
    backends = {"panel": Scripted(written), "sink": Scripted(written)}
    (tmp_path / "schemathesis.toml").write_text("max-stream-events = 100000\n")
    described, report = tmp_path / "openapi.json", tmp_path / "report.json"
    run = {"models": {PLAIN: relayed}}
    async with serving(duo(), vote(), backends=backends, run=run, plain=[PLAIN]) as server:
        async with server.http() as http:
            whole = await (await http.get("/openapi.json")).json()
        # The server behind has no chat.
        whole["components"]["schemas"]["ModelId"]["enum"].remove(PLAIN)
        described.write_text(json.dumps(whole))
        process = await asyncio.create_subprocess_exec(
            *command(server.url, described, report),
            stdout=asyncio.subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.serve.schema_checks", "PYTHONPATH": str(Path.cwd())},
        )  # fmt: skip
        told, _ = await process.communicate()
        await until(lambda: server.house.admission.running == 0, 2.0)
    await behind.close()
    text = told.decode()
    print(text)
    assert process.returncode == 0, text[-20_000:]
    assert len(server.lines) >= CASES
    assert not [line for line in server.lines if line["status"] >= 500]
