"""What `import moa` offers, and that nothing heavy comes with it before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import moa

HEAVY = (
    *("aiohttp", "jinja2", "networkx", "PIL", "pyarrow", "pydantic", "rich", "tenacity", "yaml"),
    *("matplotlib", "numpy", "scipy", "sklearn", "torch", "transformers", "vllm", "xllamacpp"),
    *("opentelemetry", "sqlite3"),
)
"""`moa --help` needs none of these."""
HEAVIEST = ("matplotlib", "scipy", "sklearn", "torch", "transformers", "vllm", "xllamacpp", "aiohttp.web")
"""And importing all of the public API none of these."""


def shown_to_type_checkers() -> dict[str, str]:
    """Each name of the `TYPE_CHECKING` block with the module that it comes from."""
    tree = ast.parse(Path(str(moa.__file__)).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    found = {}
    for line in block.body:
        assert isinstance(line, ast.ImportFrom) and line.module
        for name in line.names:
            assert name.asname == name.name, "`import X as X` is what makes a name public"
            found[name.name] = line.module
    return found


def loaded_by(code: str, *names: str) -> set[str]:
    """Those of `names` that a new interpreter has loaded after running `code`."""
    report = f"import sys; print(*{{name for name in {names!r} if name in sys.modules}})"
    run = [sys.executable, "-c", f"{code}\n{report}"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    return {*done.stdout.splitlines()[-1].split()} if done.stdout.strip() else set()


def test_type_checkers_see_what_there_is() -> None:
    assert shown_to_type_checkers() == moa._HOME


def test_dir_lists_exactly_what_is_public() -> None:
    assert dir(moa) == sorted([*moa._HOME, "__version__"])


@pytest.mark.parametrize("name", dir(moa))
def test_every_name_is_there_and_is_documented(name: str) -> None:
    value = getattr(moa, name)
    if name != "__version__":
        assert value is getattr(import_module(moa._HOME[name]), name)
        assert value.__module__ == moa._HOME[name], "its home is where it is defined"
        assert value.__doc__


def test_from_moa_import_works_for_all() -> None:
    names = ", ".join(moa._HOME)
    assert loaded_by(f"from moa import {names}", *HEAVIEST) == set()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'moa' has no attribute 'Grpah'"):
        _ = moa.Grpah
    assert not hasattr(moa, "HOME")


def test_importing_moa_imports_nothing_else() -> None:
    assert loaded_by("import moa", *HEAVY, "moa.compose", "moa.cli", "typer", "asyncio") == set()


@pytest.mark.parametrize("arguments", ["--help", "--version", "run --help", "store --help"])
def test_help_is_light(arguments: str) -> None:
    code = (
        f"import sys; sys.argv = ['moa', *{arguments.split()!r}]\n"
        "from moa.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as left:\n    assert not left.code, left.code\n"
    )
    typers_own = set() if arguments.startswith("--") else {"pydantic"}
    assert loaded_by(code, *HEAVY) <= typers_own
