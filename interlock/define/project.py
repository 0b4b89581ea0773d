"""Everything declared in one folder."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from interlock.define.base import Declared, Definition, Name
from interlock.define.calendar import Calendar
from interlock.define.definitions import FeatureView, Model, Service, Table
from interlock.define.environment import Environment, Owner
from interlock.define.notifications import Notification
from interlock.define.privacy import Privacy
from interlock.define.refs import Ref


class Project(Definition):
    """Everything declared in one folder, and the exact text it was read from.

    `texts` maps relative path to content: a change keeps this snapshot, so that what
    was reviewed is what runs.
    """

    name: str
    owners: tuple[Owner, ...] = ()
    environments: Mapping[Name, Environment]
    tables: Mapping[str, Table] = Field(default_factory=dict)
    views: Mapping[str, FeatureView] = Field(default_factory=dict)
    models: Mapping[str, Model] = Field(default_factory=dict)
    services: Mapping[str, Service] = Field(default_factory=dict)
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
