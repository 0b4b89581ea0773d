"""Everything declared in one folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import Field, SkipValidation

from interlock.define.base import Declared, Definition, Name
from interlock.define.calendar import Calendar
from interlock.define.definitions import FeatureView, Model, Service, Table
from interlock.define.environment import Environment, Owner
from interlock.define.notifications import Notification
from interlock.define.privacy import Privacy
from interlock.define.refs import Ref

T = TypeVar("T")
# Not looked through: most of them are made only when somebody asks for them.
_Named = Annotated[Mapping[str, T], SkipValidation]


class Project(Definition):
    """Everything declared in one folder, and the exact text it was read from.

    `texts` maps relative path to content: a change keeps this snapshot, so that what
    was reviewed is what runs.
    """

    name: str
    owners: tuple[Owner, ...] = ()
    environments: Mapping[Name, Environment]
    tables: _Named[Table] = Field(default_factory=dict)
    views: _Named[FeatureView] = Field(default_factory=dict)
    models: _Named[Model] = Field(default_factory=dict)
    services: _Named[Service] = Field(default_factory=dict)
    policies: Mapping[str, str] = Field(default_factory=dict)
    privacy: Privacy = Privacy()
    notifications: Mapping[Name, Notification] = Field(default_factory=dict)
    calendar: Calendar = Calendar()
    texts: Mapping[str, str] = Field(default_factory=dict, exclude=True)

    def owner_of(self, ref: Ref) -> str:
        """The team that owns `ref` (`""` when nothing declared has that address)."""
        where: Mapping[str, Mapping[str, Declared]] = {
            "table": self.tables, "model": self.models, "service": self.services,
        }  # fmt: skip
        if ref.kind in ("view", "feature"):
            found: Declared | None = self.views.get(f"{ref.name}@{ref.version}")
        else:
            found = where.get(ref.kind, {}).get(ref.name)
        return found.owner if found else ""
