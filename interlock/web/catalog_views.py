"""What the catalog shows: the components of the release that runs, and what is in each."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.web.figures import Lane


@dataclass(frozen=True)
class CatalogField:
    """A column of a table, a feature of a view, an input of a model."""

    name: str
    type: str = ""
    unit: str = ""
    description: str = ""


@dataclass(frozen=True)
class CatalogRow:
    """One component of the stable release; `version` is the digest the release pins."""

    ref: str
    lane: Lane
    version: str
    owner: str
    description: str = ""
    reads: tuple[str, ...] = ()
    fields: tuple[CatalogField, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class CatalogPage:
    """What runs now."""

    release: str
    rows: tuple[CatalogRow, ...] = ()
