"""Tables that stand in the warehouse already and are filled by others: read, never written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from interlock.define.definitions import Table
from interlock.define.project import Project
from interlock.errors import Refused, Unusable
from interlock.features.contract import judge_columns
from interlock.ports import Warehouse


def stored(warehouse: Warehouse, table: Table) -> str:
    """Where `table` stands; `Refused` when it is gone, or is not what its contract says.

    Asked each time it is read: others may drop or alter it in the middle of our work.
    """
    objections = unlike(warehouse, table)
    if objections:
        raise Refused(
            f"{table.ref} cannot be read from {table.stored_as}",
            help="mend the table in the warehouse or the contract, then run this again",
            objections=objections,
        )
    return str(table.stored_as)


def unlike(warehouse: Warehouse, table: Table) -> tuple[str, ...]:
    """All that the stored table lacks of its contract: itself, columns, types that hold them."""
    name = str(table.stored_as)
    if not warehouse.has(name):
        return (f"{table.name} is stored as {name}, and the warehouse has no such table",)
    findings = judge_columns(table, warehouse.columns(f"SELECT * FROM {name} AS t"))
    return tuple(f"{one.sentence} ({name})" for one in findings if one.verdict != "pass")


def refuse_unlike(project: Project, warehouse: Warehouse, then: str = "propose again") -> None:
    """Every objection to every stored table of `project`, at once."""
    tables = [table for table in project.tables.values() if table.stored_as]
    objections = tuple(said for table in tables for said in unlike(warehouse, table))
    if objections:
        raise Refused(
            "the warehouse does not hold what the contracts say",
            help=f"mend the tables in the warehouse or their contracts, then {then}",
            objections=objections,
        )


@contextmanager
def as_promised(project: Project, warehouse: Warehouse) -> Iterator[None]:
    """Work that reads tables of others: when one went or changed in the middle, that is said.

    The engine only knows that a query of ours, which nobody has to mend, does not fit any more.
    """
    try:
        yield
    except Unusable:
        refuse_unlike(project, warehouse, "run this again")
        raise
