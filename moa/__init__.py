"""Ensembles of language models as graphs: compose, run and measure Mixture-of-Agents and its kin.

Everything public is reached through this module; it imports nothing until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "AgentSpec": "moa.spec.agent",
    "Sampling": "moa.spec.agent",
    "GraphSpec": "moa.spec.graph",
    "NodeSpec": "moa.spec.graph",
    "ModelSpec": "moa.spec.model",
    "Price": "moa.spec.model",
    "Backend": "moa.backends.base",
    "WrapperBackend": "moa.backends.base",
    "Request": "moa.backends.base",
    "Completion": "moa.backends.base",
    "Choice": "moa.backends.base",
    "Delta": "moa.backends.base",
    "Usage": "moa.backends.base",
    "Response": "moa.nodes.response",
    "Selector": "moa.nodes.selector",
    "MoaError": "moa.errors",
    "UsageError": "moa.errors",
    "SpecError": "moa.errors",
    "BackendError": "moa.errors",
    "QuorumError": "moa.errors",
    "BudgetExceededError": "moa.errors",
    "DeadlineExceededError": "moa.errors",
    "StoreError": "moa.errors",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'moa' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
