"""How one API tells an answer as it is written."""

from __future__ import annotations

from abc import ABC, abstractmethod

from moa.serve.answer import Answered, Fresh
from moa.serve.refusal import Refusal
from moa.serve.stream import COMMENT, SSE


class Voice(ABC):
    """What is sent when; each method gives the bytes."""

    kind = SSE
    """The stream's content type."""

    @abstractmethod
    def first(self) -> bytes:
        """Before the first word."""

    @abstractmethod
    def piece(self, fresh: Fresh) -> bytes:
        """A piece of an answer."""

    @abstractmethod
    def last(self, answered: Answered) -> bytes:
        """What is left of the answers, why they ended, and what they cost."""

    @abstractmethod
    def broken(self, refusal: Refusal) -> bytes:
        """Why there will be no more, after something was sent."""

    def idle(self) -> bytes:
        """That we are still there."""
        return COMMENT
