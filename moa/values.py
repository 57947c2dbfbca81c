"""Values: small records that are made by the thousand and never changed.

`@value(frozen=True, slots=True)` is `@dataclass(frozen=True, slots=True)` to a type checker, which refuses
every assignment. At run time nothing stands in the way of one: guarding each field costs as much as all
else that is done to make the object, and a call to a model makes a dozen of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["value"]

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(*, frozen, slots):
        """Make a class a value: compared and hashed by its fields."""
        return dataclass(slots=slots, unsafe_hash=frozen)
