"""The nodes of a project by keys that cover all they follow from.

A key holds the definition and the fingerprints of what stands directly below, so what is
edited is worked out again, and above it only as far up as fingerprints move.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from interlock.define.definitions import Model, Service
from interlock.define.digest import digest_texts
from interlock.define.held import Held, things
from interlock.define.memory import Memory
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.impact.edges import alone, edges_of
from interlock.impact.kept import known_node, known_print
from interlock.impact.meaning import Builder
from interlock.impact.nodes import Edge, NodeFacts, owner_node
from interlock.impact.order import sources_first
from interlock.impact.promises import scheduled
from interlock.impact.understood import SCORED, Understood, models_of

_FIELDS = {"table": "tables", "view": "views", "model": "models", "service": "services"}


class Known(Mapping[str, NodeFacts]):
    """Nodes by text of Ref, in order; each is made when somebody looks at it.

    `order`: every name after those it stands on. `key_of`: by name. `fresh`: what no earlier
    run knew. `rings`: tables that read each other.
    """

    def __init__(self, project: Project, memory: Memory) -> None:
        self.project, self._memory = project, memory
        self.understood = Understood(project, memory)
        self.key_of: dict[str, str] = {}
        self.fresh: list[str] = []
        self._made: dict[str, NodeFacts] = {}
        self._prints: dict[str, str] = {}
        self._edges: dict[str, Mapping[str, list[Edge]]] = {}
        self._below: dict[str, tuple[str, ...]] = {}
        tables, self.rings = self._tables()
        self._ring = frozenset(name for ring in self.rings for name in ring)
        self._schedules = scheduled(project)
        self._builder = Builder(project, self.understood, self, self._ring, self._schedules)
        self.order = [*tables, *self._others()]
        for name in self.order:
            self._know(name)
        self._sorted = sorted(self.order)

    def __getitem__(self, name: str) -> NodeFacts:
        if name not in self._made:
            key, held = self.key_of[name], self._held(name)
            known = known_node(self._memory, key, Ref.parse(name), held.thing)
            self._made[name] = known or self._builder.build(name)
        return self._made[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self.key_of else default

    def __contains__(self, name: object) -> bool:
        return name in self.key_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._sorted)

    def __len__(self) -> int:
        return len(self.key_of)

    def __repr__(self) -> str:
        return repr(dict(self))

    def features(self, view: Ref) -> tuple[str, ...]:
        """Names of the features of a view, in the order of its header."""
        return self._held(str(view)).features

    def below(self, name: str) -> tuple[str, ...]:
        """The things that stand directly below `name`, declared or not."""
        return self._below.get(name, ())

    # ---- what stands on what

    def _tables(self) -> tuple[list[str], list[tuple[str, ...]]]:
        for name in self.project.tables:
            address = f"table:{name}"
            self._below[address] = tuple(f"table:{n}" for n in self.understood.reads(address))
        return sources_first(self._below)

    def _others(self) -> Iterable[str]:
        for kind, field in list(_FIELDS.items())[1:]:
            for plain in getattr(self.project, field):
                name = f"{kind}:{plain}"
                self._below[name] = self._stands_on(name)
                yield name

    def _stands_on(self, name: str) -> tuple[str, ...]:
        """Everything whose columns, rows or outputs count for `name`."""
        below = [f"table:{table}" for table in self.understood.reads(name) if table != SCORED]
        if name.startswith("model:"):
            below += self._under_model(self._held(name).thing)
        if name.startswith("service:"):
            below += self._under_service(self._held(name).thing)
        return tuple(dict.fromkeys(below))

    def _under_model(self, model: Model) -> list[str]:
        return [f"table:{model.spine}", *map(str, model.view_refs)]

    def _under_service(self, service: Service) -> list[str]:
        """Also what the labels of its models read: a KPI is traced through them."""
        labels = (self._below[str(model.ref)] for model in models_of(self.project, service))
        return [f"model:{name}" for name in service.models] + [n for held in labels for n in held]

    def _held(self, name: str) -> Held[Any]:
        kind, _, plain = name.partition(":")
        named: Mapping[str, Any] = getattr(self.project, _FIELDS[kind])
        return things(named).held(plain)

    # ---- keys

    def _know(self, name: str) -> None:
        """The key of `name`, and its fingerprint: known before, or from the node itself."""
        held = self._held(name)
        below = () if name in self._ring else self._below[name]
        what = "ring" if name in self._ring else name
        parts = [self._part(other) for other in below]
        key = digest_texts(what, held.key, self._schedules.get(name, ""), *below, *parts)
        self.key_of[name] = key
        found = None if held.says("outside") else known_print(self._memory, key)
        if found is None:
            self.fresh.append(name)
            found = self[name].fingerprint
        self._prints[name] = found

    def _part(self, name: str) -> str:
        """What counts of `name` for those that stand on it; "" for what nobody declares.

        The fingerprint of a model leaves out outputs of its label that only a KPI reads.
        """
        return (
            self.key_of.get(name, "") if name.startswith("model:") else self._prints.get(name, "")
        )

    # ---- edges

    def edges(self, name: str) -> Iterable[Edge]:
        """What the thing with the address `name` and its columns read."""
        return (edge for held in self._by_source(name).values() for edge in held)

    def reading(self, source: str) -> list[Edge]:
        owner = owner_node(source)
        names = [owner, *self._readers.get(owner, ())]
        return [edge for name in names for edge in self._by_source(name).get(source, ())]

    def _by_source(self, name: str) -> Mapping[str, list[Edge]]:
        if name not in self._edges:
            found: dict[str, list[Edge]] = {}
            for edge in self._edges_of(name) if name in self else ():
                found.setdefault(edge.source, []).append(edge)
            self._edges[name] = found
        return self._edges[name]

    def _edges_of(self, name: str) -> Iterable[Edge]:
        if name in self._ring:
            return alone(self._held(name).thing)
        return dict.fromkeys(edges_of(self.project, self.understood, name))

    @cached_property
    def _readers(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for reader, below in self._below.items():
            for source in below:
                found.setdefault(source, []).append(reader)
        return found
