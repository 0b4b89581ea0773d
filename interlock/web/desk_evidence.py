"""Evidence and the catalog as pages show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from interlock.change.change import Change
from interlock.change.evidence import Evidence
from interlock.define.definitions import FeatureView, Model, Service, Table
from interlock.define.durations import format_duration
from interlock.define.project import Project
from interlock.ports import Json
from interlock.web.catalog_views import CatalogField, CatalogRow
from interlock.web.figures import Lane
from interlock.web.views import (
    EvidencePage,
    EvidenceRow,
    Fact,
    SliceRow,
)
from interlock.web.words import number

_SUBJECTS = {
    "contract": "table", "values": "view", "replay": "view", "model_comparison": "model",
    "null_rehearsal": "model", "kpi": "service",
}  # fmt: skip
# Relative changes and shares read as percent.
_IN_PERCENT = ("model_comparison", "null_rehearsal", "kpi", "values")
_UNITS = {"contract": "broken", "replay": "mismatches"}
_ORDER = ("fail", "inconclusive", "waived", "pass")
_STANDINGS = {"no worse": "pass", "better": "pass", "worse": "fail"}
_LANES: Mapping[str, Lane] = {
    "table": "Tables", "view": "Views", "model": "Models", "service": "Services",
}  # fmt: skip

# --- evidence -------------------------------------------------------------------------


def evidence_rows(change: Change, pieces: Sequence[Evidence]) -> tuple[EvidenceRow, ...]:
    """Each check of a change, what did not pass first; what was waived says so."""
    required = (change.plan or {}).get("evidence", ())
    notes = {piece.check: "not required by this plan" for piece in pieces}
    notes |= dict.fromkeys(required, "")
    notes |= {waiver.check: str(waiver) for waiver in change.waivers if waiver.counts}
    waived = {waiver.check for waiver in change.waivers if waiver.counts}
    rows = [_row(piece, notes[piece.check], piece.check in waived) for piece in pieces]
    return tuple(sorted(rows, key=lambda row: _ORDER.index(row.verdict)))


def _row(piece: Evidence, note: str = "", waived: bool = False) -> EvidenceRow:
    kind, _, name = piece.check.partition(":")
    scale = 100.0 if kind in _IN_PERCENT else 1.0
    low, high = piece.interval or (None, None)
    passes = piece.verdict == "pass"
    return EvidenceRow(
        piece.digest, kind.replace("_", " "), f"{_SUBJECTS.get(kind, kind)}:{name}",
        "waived" if waived and not passes else piece.verdict,
        piece.sentence if passes or not note else f"{piece.sentence} ({note})",
        _scaled(piece.value, scale), _scaled(low, scale), _scaled(high, scale),
        "%" if kind in _IN_PERCENT else _UNITS.get(kind, ""),
        tuple(_slice(one) for one in piece.details.get("slices", ())),
    )  # fmt: skip


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _slice(body: Json) -> SliceRow:
    relative = body.get("relative") or {}
    name = f"{body['slice']} {body['value']}".replace("_", " ")
    verdict: str = body["standing"]
    value, low, high = (_scaled(relative.get(key), 100.0) for key in ("value", "low", "high"))
    return SliceRow(name, _STANDINGS.get(verdict, verdict), body["n"], value, low, high)


def evidence_page(piece: Evidence, by: str, change: Change | None) -> EvidencePage:
    """One piece with what it stands on and what else it measured."""
    inputs = tuple(Fact(ref, digest) for ref, digest in sorted(piece.subjects.items()))
    row = evidence_rows(change, [piece])[0] if change else _row(piece)
    return EvidencePage(
        row, change.id if change else None, piece.made_at, by, piece.expires_at, inputs,
        tuple(_facts(piece)),
    )  # fmt: skip


def _facts(piece: Evidence) -> Iterator[Fact]:
    if piece.n is not None:
        yield Fact("Measured on", f"{number(piece.n)} rows, units or findings")
    if piece.metric:
        yield Fact("Metric", piece.metric.replace("_", " "))
    if piece.baseline is not None:
        yield Fact("Compared with", number(piece.baseline))
    yield from (_fact(name, value) for name, value in _flat(piece.details))
    if piece.query:
        yield Fact("Query", piece.query)


def _flat(details: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Single values of the details, one level down: lists are for the JSON twin."""
    for name, value in details.items():
        said = f"{above} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping) and not above:
            yield from _flat(value, said)
        elif isinstance(value, str | int | float) and name not in ("sentence", "verdict"):
            yield said, value


def _fact(name: str, value: str | float) -> Fact:
    shown = str(value) if isinstance(value, str | bool) else number(value)
    return Fact(name[:1].upper() + name[1:], shown)


# --- catalog --------------------------------------------------------------------------


def catalog_rows(release: Json, project: Project | None, drawn: Json) -> tuple[CatalogRow, ...]:
    """Every component of a release. `drawn` is the graph its change kept: who reads what."""
    reads = _reads(drawn)
    order = list(_LANES)
    components = sorted(release["components"].items())
    rows = [
        _component(ref, digest, project, release, reads.get(ref, ()))
        for ref, digest in components
        if ref.partition(":")[0] in _LANES
    ]
    return tuple(sorted(rows, key=lambda row: order.index(row.ref.partition(":")[0])))


def _reads(drawn: Json) -> dict[str, tuple[str, ...]]:
    owner = {c["id"]: node["id"] for node in drawn.get("nodes", ()) for c in node["columns"]}
    found: dict[str, set[str]] = {}
    for edge in drawn.get("edges", ()):
        source, target = (owner.get(edge[end], edge[end]) for end in ("source", "target"))
        if source != target:
            found.setdefault(target, set()).add(source)
    return {target: tuple(sorted(sources)) for target, sources in found.items()}


def _component(
    ref: str, digest: str, project: Project | None, release: Json, reads: tuple[str, ...]
) -> CatalogRow:
    kind, _, name = ref.partition(":")
    thing = _declared(project, kind, name)
    if thing is None:
        return CatalogRow(ref, _LANES[kind], digest, "")
    trained = release["models"].get(name) if kind == "model" else None
    return CatalogRow(
        ref, _LANES[kind], digest, thing.owner, thing.description, reads,
        tuple(_fields(thing, trained)), _note(thing, trained),
    )  # fmt: skip


def _declared(
    project: Project | None, kind: str, name: str
) -> Table | FeatureView | Model | Service | None:
    if project is None:
        return None
    where: Mapping[str, Mapping[str, Any]] = {
        "table": project.tables, "view": project.views, "model": project.models,
        "service": project.services,
    }  # fmt: skip
    found: Table | FeatureView | Model | Service | None = where[kind].get(name)
    return found


def _fields(
    thing: Table | FeatureView | Model | Service, trained: Json | None
) -> Iterator[CatalogField]:
    match thing:
        case Table():
            for name, column in thing.columns.items():
                yield CatalogField(name, column.type, column.unit or "", column.description)
        case FeatureView():
            for name, value in thing.features.items():
                yield CatalogField(name, value.type, value.unit or "", value.description)
        case Model():
            weights = (trained or {}).get("importance", {})
            for name in sorted((trained or {}).get("inputs", ()), key=lambda n: -weights.get(n, 0)):
                share = f"{weights.get(name, 0.0) * 100:.1f} % of the gain" if weights else ""
                yield CatalogField(name, "input", "", share)
        case Service():
            kpi = thing.kpi
            yield CatalogField(kpi.name, "KPI", "", f"{kpi.description} ({kpi.better} is better)")


def _note(thing: Table | FeatureView | Model | Service, trained: Json | None) -> str:
    match thing:
        case Table():
            read = thing.source.csv if thing.source else thing.stored_as
            return f"read from {read}" if read else ""
        case FeatureView():
            gone = thing.deprecation
            if gone:
                return f"deprecated: may go after {gone.date}, use view:{gone.replacement}"
            return f"a row counts for {format_duration(thing.ttl)}" if thing.ttl else ""
        case Model():
            days = f"trained on {thing.training.start} to {thing.training.end}"
            return f"{days}, artifact {trained['artifact'][:12]}" if trained else days
        case Service():
            return f"decides per {', '.join(thing.decision_unit)}, tier {thing.tier}"
