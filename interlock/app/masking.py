"""The masks of a version, for every place where warehouse values reach a person.

Evidence, refusals and profiles are masked for everybody when they are made, because what is
kept is read by anybody. `docs/privacy.md` lists the places.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.define.definitions import Model, Table
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.errors import InterlockError, Unusable
from interlock.features.compare import ValueComparison
from interlock.features.compile import column_names
from interlock.features.covers import Covers, covers
from interlock.features.masking import masked
from interlock.impact.graph import column_ref

if TYPE_CHECKING:
    from interlock.impact.facts import Facts

SHORTEST_KEY = 16
# What DuckDB says about SQL; anything else it says may quote the row it choked on.
_QUOTED = re.compile(r'"[^"]*"')
_ABOUT_SQL = ("Binder Error", "Parser Error", "Catalog Error")


@dataclass(frozen=True)
class Masks:
    """What is masked in one version of a project. Without a key, hashes are redactions."""

    covers: Covers
    key: bytes | None = None

    def hides(self, ref: Ref, column: str) -> bool:
        """Is a column of `ref`, a table or a view, masked?"""
        return column_ref(ref, column) in self.covers

    def shown(self, ref: Ref, column: str, value: Any) -> Any:
        """`value` as everybody may see it."""
        cover = self.covers.get(column_ref(ref, column))
        return value if cover is None else masked(value, cover, self.key)

    def row(self, ref: Ref, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of `ref`; names that are no columns of it stay."""
        return {name: self.shown(ref, name, value) for name, value in row.items()}

    def example(
        self, feature: str, spine: tuple[Ref, str], example: Mapping[str, Any]
    ) -> dict[str, Any]:
        """One row where two values of `feature` (`view@1:name`) differ: its values and key."""
        view, _, name = feature.rpartition(":")
        ref = Ref.parse(f"view:{view}")
        made = {**example, "key": self.shown(*spine, example["key"])}
        values = [n for n in ("trained", "replayed", "first", "second") if n in example]
        return made | {n: self.shown(ref, name, example[n]) for n in values}

    def comparison(self, view: Ref, found: ValueComparison) -> ValueComparison:
        """What may be said of a feature: shares always, moments of its values if they may be."""
        cover = self.covers.get(column_ref(view, found.feature))
        if cover is None or cover.mask.aggregates == "clear":
            return found
        moved = f"{found.changed_share:.1%} of {found.rows} values differ"
        said = "equal" if found.verdict == "equal" else (found.name or moved)
        # By name, so that what a comparison learns to measure later is not shown unasked.
        return ValueComparison(
            found.feature, found.rows, found.changed_share, found.null_old, found.null_new,
            found.ratio, None, None, None, found.name, found.verdict,
            f"{found.feature}: {said} (values are masked)", found.missing_old, found.missing_new,
            zero_old=found.zero_old, zero_new=found.zero_new,
        )  # fmt: skip

    def contract(self, table: Table, ref: Ref | None = None) -> Table:
        """`table`, with all that it inherits said as its own: what is made from it keeps still."""
        hidden = [n for n in table.columns if self.hides(ref or table.ref, n)]
        if not hidden:
            return table
        marked = {
            n: table.columns[n].model_copy(update={"classification": "sensitive"}) for n in hidden
        }
        return table.model_copy(update={"columns": {**table.columns, **marked}})

    def inputs(self, model: Model) -> frozenset[str]:
        """The inputs of a model, by column name, whose values are masked."""
        spine = Ref("table", model.spine)
        hidden = {n for n in model.request if self.hides(spine, n)}
        for text, name in column_names(model.features).items():
            if str(Ref.parse(f"feature:{text}")) in self.covers:
                hidden.add(name)
        return frozenset(hidden)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Where rows hold hidden values, only the kind of an engine's complaint is told."""
        try:
            yield
        except InterlockError as error:
            what, _, said = error.message.partition(": ")
            engine = what.startswith("the warehouse")
            if not self.covers or not engine or said.startswith(_ABOUT_SQL):
                raise
            # Postgres quotes names and values alike, and not always after a colon.
            kind = _QUOTED.sub('"…"', said.partition(":")[0])
            message = f"{what}: {kind} (not shown in full: it may quote a masked value)"
            raise type(error)(message, help=error.help) from None


def masks_of(project: Project, facts: Facts) -> Masks:
    """The masks of a version."""
    return Masks(covers(project, facts), key_of(project))


def key_of(project: Project) -> bytes | None:
    """The key of `hash`, from the variable that the project names; None when it is not set.

    The warehouse is told a key that is made from it, so that the one people hold never
    stands in a query.
    """
    variable = (project.privacy.key or "").strip("${}")
    value = os.environ.get(variable, "") if variable else ""
    if not value:
        return None
    if len(value) < SHORTEST_KEY:
        raise Unusable(
            f"{variable} is shorter than {SHORTEST_KEY} characters",
            help="a short key can be guessed: make a long random one",
        )
    return hmac.new(value.encode(), b"interlock masks 1", hashlib.sha256).digest()
