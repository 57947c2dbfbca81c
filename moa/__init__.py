"""Ensembles of language models as graphs: compose, run and measure Mixture-of-Agents and its kin.

Everything public is reached through this module, and nothing is imported before its name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Composing and running
    # Asking models
    from moa.backends.base import Backend as Backend
    from moa.backends.base import Choice as Choice
    from moa.backends.base import Completion as Completion
    from moa.backends.base import Delta as Delta
    from moa.backends.base import Request as Request
    from moa.backends.base import Usage as Usage
    from moa.backends.base import WrapperBackend as WrapperBackend
    from moa.compose import Graph as Graph
    from moa.compose import Node as Node
    from moa.compose import defend as defend
    from moa.compose import load as load
    from moa.compose import register_backend as register_backend
    from moa.compose import register_selector as register_selector

    # Errors
    from moa.errors import BackendError as BackendError
    from moa.errors import BudgetExceededError as BudgetExceededError
    from moa.errors import DeadlineExceededError as DeadlineExceededError
    from moa.errors import MoaError as MoaError
    from moa.errors import QuorumError as QuorumError
    from moa.errors import SpecError as SpecError
    from moa.errors import StoreError as StoreError
    from moa.errors import UsageError as UsageError
    from moa.evaluate.deception.attacks import attack as attack
    from moa.graph.plan import Plan as Plan
    from moa.nodes.response import Response as Response
    from moa.nodes.selector import SelectContext as SelectContext
    from moa.nodes.selector import Selector as Selector
    from moa.run.budget import Budget as Budget
    from moa.run.reply import NodeResult as NodeResult
    from moa.run.reply import Reply as Reply
    from moa.run.retry import RetryPolicy as RetryPolicy
    from moa.run.runner import Piece as Piece
    from moa.run.runner import Runner as Runner
    from moa.run.runner import Stream as Stream
    from moa.run.store import Store as Store
    from moa.run.telemetry import Telemetry as Telemetry

    # Specifications
    from moa.spec.agent import AgentSpec as AgentSpec
    from moa.spec.agent import Sampling as Sampling
    from moa.spec.attack import Deception as Deception
    from moa.spec.defence import DefenceSpec as DefenceSpec
    from moa.spec.graph import GraphSpec as GraphSpec
    from moa.spec.graph import NodeSpec as NodeSpec
    from moa.spec.model import Limits as Limits
    from moa.spec.model import ModelSpec as ModelSpec
    from moa.spec.model import Price as Price

__version__ = "0.1.0"

_PUBLIC = {
    "moa.backends.base": "Backend Choice Completion Delta Request Usage WrapperBackend",
    "moa.compose": "Graph Node defend load register_backend register_selector",
    "moa.errors": (
        "BackendError BudgetExceededError DeadlineExceededError MoaError QuorumError SpecError StoreError "
        "UsageError"
    ),
    "moa.evaluate.deception.attacks": "attack",
    "moa.graph.plan": "Plan",
    "moa.nodes.response": "Response",
    "moa.nodes.selector": "SelectContext Selector",
    "moa.run.budget": "Budget",
    "moa.run.reply": "NodeResult Reply",
    "moa.run.retry": "RetryPolicy",
    "moa.run.runner": "Piece Runner Stream",
    "moa.run.store": "Store",
    "moa.run.telemetry": "Telemetry",
    "moa.spec.agent": "AgentSpec Sampling",
    "moa.spec.attack": "Deception",
    "moa.spec.defence": "DefenceSpec",
    "moa.spec.graph": "GraphSpec NodeSpec",
    "moa.spec.model": "Limits ModelSpec Price",
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'moa' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*_HOME, "__version__"])
