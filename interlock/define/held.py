"""Definitions by name, each made into a value when somebody looks at it.

A plan of thousands of tables asks most of them for their columns and their SQL only. What
was read before comes back as plain data, and is checked and made whole on the first look.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic_core import to_jsonable_python

from interlock.define.base import Declared
from interlock.define.digest import digest

T = TypeVar("T", bound=Declared)


class Held(Generic[T]):
    """One definition. `kept`: it comes from a project in which nothing was wrong with it."""

    def __init__(
        self,
        kind: type[T],
        plain: Mapping[str, Any] | None = None,
        key: str = "",
        thing: T | None = None,
    ) -> None:
        self.kept = thing is None
        self._kind, self._plain, self._key = kind, plain, key
        if thing is not None:
            self.thing = thing

    @cached_property
    def thing(self) -> T:
        return self._kind.model_validate(self._plain)

    @cached_property
    def key(self) -> str:
        """A digest of all that it says, with the SQL and the code of files beside it."""
        return self._key or digest([self._kind.__name__, written(self.thing)])

    def says(self, name: str) -> Any:
        """One of its plain settings, as a text; None where it says nothing."""
        if self._plain is not None and "thing" not in self.__dict__:
            return self._plain.get(name)
        return getattr(self.thing, name, None)

    @cached_property
    def columns(self) -> Mapping[str, str]:
        """Column -> contract type of a table."""
        said = self.says("columns")
        return {n: c["type"] if isinstance(c, dict) else c.type for n, c in said.items()}

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Names of the features of a view, in order."""
        return tuple(self.says("features"))


class Things(Mapping[str, T]):
    """Definitions of one kind by name."""

    def __init__(self, held: Mapping[str, Held[T]]) -> None:
        self._held = dict(held)

    def __getitem__(self, name: str) -> T:
        return self._held[name].thing

    def __contains__(self, name: object) -> bool:
        return name in self._held

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return repr(dict(self))

    def held(self, name: str) -> Held[T]:
        return self._held[name]

    def every(self) -> Iterable[Held[T]]:
        return self._held.values()

    def but(self, others: Mapping[str, T]) -> Things[T]:
        """The same with `others` in the place of those of their names."""
        more = {name: Held(type(thing), thing=thing) for name, thing in others.items()}
        return Things({**self._held, **more})


def things(named: Mapping[str, T]) -> Things[T]:
    """`named`, whoever made it, as definitions that can be asked for a part."""
    if isinstance(named, Things):
        return named
    return Things({name: Held(type(thing), thing=thing) for name, thing in named.items()})


def written(thing: Declared) -> dict[str, Any]:
    """What `thing` says and was filled in, as plain data; `Held` makes it whole again."""
    said = thing.model_fields_set
    unsaid = {
        name: to_jsonable_python(getattr(thing, name))
        for name, field in type(thing).model_fields.items()
        if field.exclude and name in said
    }
    return thing.model_dump(mode="json", exclude_unset=True) | unsaid
