"""What is left of the error budgets of services, as it was measured last."""

from __future__ import annotations

from collections.abc import Sequence

from interlock.app.reliability import kept
from interlock.change.change import Change
from interlock.ports import Json
from interlock.watch.reliability import PERIOD, Reliability
from interlock.web.desk_ledger import Ledger
from interlock.web.views import Budget


def budgets(ledger: Ledger) -> tuple[Budget, ...]:
    """Of every service that is declared; one that nobody measured has no numbers."""
    found = kept(ledger.workspace.record, ledger.workspace.environment)
    return tuple(
        _budget(one.service, one.slo.availability, found)
        for one in ledger.project().services.values()
    )


def at_risk(ledger: Ledger, change: Change) -> tuple[Budget, ...]:
    """Of the services that this change moves; its plan knows them, whatever is proven yet."""
    reached: Sequence[Json] = (change.plan or {}).get("reached", ())
    moved = {one["ref"] for one in reached if one["verdict"] != "untouched"}
    edited = {one["ref"] for one in (change.plan or {}).get("differences", ())}
    return tuple(one for one in budgets(ledger) if f"service:{one.service}" in moved | edited)


def _budget(service: str, promised: float, found: Reliability | None) -> Budget:
    spent = next((s for s in found.services if s.service == service), None) if found else None
    if found is None or spent is None or spent.left is None:
        # Measured, and nobody had asked: that is known as of a day, and still no number.
        return Budget(service, promised, at=found.at if spent and found else None)
    return Budget(
        service, spent.promised, spent.left, spent.answers, spent.bad, found.at - PERIOD, found.at
    )
