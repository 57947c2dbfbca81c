"""The files of deploy/: linted, and in step with the command line; nothing here starts a container."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from moa.cli import app
from moa.spec.loader import read_models

DEPLOY = Path(__file__).parents[2] / "deploy"
TOOLS = Path(sys.executable).parent
MISSING_BINARY = re.compile(r"Command \S+ is not executable: No such file or directory")
"""What systemd says of a unit whose program is not installed on this machine."""


def lines(*command: str | Path) -> list[str]:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=60)
    told = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return told if done.returncode or "verify" in map(str, command) else []


def composed() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def test_the_dockerfile_passes_hadolint() -> None:
    assert lines(TOOLS / "hadolint", DEPLOY / "Dockerfile") == []


def test_the_compose_file_follows_the_compose_specification() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    assert lines(TOOLS / "check-jsonschema", *schema, DEPLOY / "compose.yaml") == []


def test_the_unit_is_one() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed here")
    told = lines("systemd-analyze", "verify", DEPLOY / "moa.service")
    assert [line for line in told if not MISSING_BINARY.search(line)] == []


def serve_options() -> set[str]:
    command = typer.main.get_command(app)
    serve = command.commands["serve"]  # type: ignore[attr-defined]
    return {name for parameter in serve.params for name in parameter.opts}


def commands() -> Iterator[list[str]]:
    """Every command line for `moa serve` in these files."""
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    entry = yaml.safe_load(re.search(r"^ENTRYPOINT (.*)$", dockerfile, re.M)[1])  # type: ignore[index]
    assert entry[:2] == ["moa", "serve"]
    yield entry[2:] + composed()["services"]["moa"]["command"]
    unit = (DEPLOY / "moa.service").read_text(encoding="utf-8")
    started = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.M)[1])  # type: ignore[index]
    assert started[0].endswith("/moa") and started[1] == "serve"
    yield started[2:]


def test_every_option_is_one_of_moa_serve() -> None:
    known = serve_options()
    for command in commands():
        assert {word for word in command if word.startswith("-")} <= known


def test_every_mounted_file_is_here_or_a_secret() -> None:
    data = composed()
    secrets = {Path(secret["file"]).name for secret in data["secrets"].values()}
    for service in data["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith("./") or (DEPLOY / source).is_file(), source
    ignored = (DEPLOY.parent / ".gitignore").read_text(encoding="utf-8").split()
    assert {f"/deploy/{name}" for name in secrets} <= {*ignored}


def test_no_port_is_published_beyond_the_loopback() -> None:
    for name, service in composed()["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


def test_the_models_serve_every_graph_that_is_named() -> None:
    from moa.cli.options import read_bindings
    from moa.serve.menu import menu

    path = DEPLOY / "models.yaml"
    assert read_models(path).spec.models
    names = [word for word in composed()["services"]["moa"]["command"] if not word.startswith(("-", "/"))]
    served = menu(names, read_bindings(None, path), models_too=False)
    assert {model for each in served for model in each.plan.models} == {"proposer"}


def test_prometheus_reads_where_the_server_tells() -> None:
    data = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in data["scrape_configs"]}
    assert targets["moa"] == ["moa:8600"]
    assert {target.split(":")[0] for hosts in targets.values() for target in hosts} <= set(
        composed()["services"]
    )


def test_the_image_has_what_the_package_is_built_from() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.M) for word in line.split()[:-1]
    }
    assert {"pyproject.toml", "README.md", "LICENSE", "moa", "agents", "graphs", "evals"} <= copied
    assert all((DEPLOY.parent / name).exists() for name in copied)
