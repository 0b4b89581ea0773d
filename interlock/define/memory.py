"""What was worked out before, by a digest of all that it follows from.

One mechanism for everything that is slow to find out: what a file declares, what a query
means, what a node of the graph is. A key covers every input, so nothing is ever looked
for and found outdated: what changed has another key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
_MISSHAPEN = (TypeError, ValueError, KeyError, IndexError, AttributeError)


@dataclass
class Memory:
    """Values of this run, over `plain`: what an earlier run left, as plain data.

    Plain data that is not shaped as expected is as good as none.
    """

    plain: Mapping[str, Any] = field(default_factory=dict)
    _made: dict[str, Any] = field(default_factory=dict)
    _new: dict[str, Callable[[], Any]] = field(default_factory=dict)
    _once: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    _spoilt: set[str] = field(default_factory=set)

    def get(self, key: str, made: Callable[[Any], T]) -> T | None:
        """The value of `key`, by `made` from plain data where this run has not seen it yet."""
        found: T | None = self._made.get(key)
        if found is None and key in self.plain and key not in self._spoilt:
            try:
                found = self._made[key] = made(self.plain[key])
            except _MISSHAPEN:
                self._spoilt.add(key)
        return found

    def put(self, key: str, value: Any, plain: Callable[[], Any]) -> None:
        """Keep `value`; `plain` makes plain data of it, if it is ever written down."""
        self._made[key], self._new[key] = value, plain

    def once(self, question: tuple[Any, ...], made: Callable[[], T]) -> T:
        """What `made` gives, asked only once in this run and never written down."""
        found: T | None = self._once.get(question)
        if found is None:
            found = self._once[question] = made()
        return found

    def use(self, key: str) -> None:
        """`key` is still of use, though nobody had to look at its value."""
        if key in self.plain:
            self._made.setdefault(key, None)

    @property
    def more(self) -> bool:
        """Something was worked out that `plain` does not hold."""
        return bool(self._new)

    def old(self) -> list[str]:
        """Keys of `plain` worth keeping: those used, after at most as many that were not."""
        held = [key for key in self.plain if key not in self._spoilt and key not in self._new]
        used = [key for key in held if key in self._made]
        others = [key for key in held if key not in self._made]
        return [*others[max(0, len(others) - len(self._made)) :], *used]

    def new(self) -> dict[str, Any]:
        """What was put in this run, as plain data."""
        return {key: plain() for key, plain in self._new.items()}

    def settled(self, plain: Mapping[str, Any]) -> None:
        """All that was new is written down: `plain` holds it now."""
        self.plain, self._new, self._spoilt = plain, {}, set()
