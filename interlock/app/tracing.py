"""`interlock trace PREDICTION`: the way of the data from its extraction to the answer.

Times of a request come from the prediction log, times of rows from the tables as they are, times
of refreshes from the journal. What nobody measured is said to be unknown, never made up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from interlock.app.checks import all_tables
from interlock.app.journeys import Journey, Span, answered, instant_of, moments, text_of
from interlock.app.predictions import Prediction, find, reachable
from interlock.app.recall import Met, Recalled, recall
from interlock.app.runs import Run, runs
from interlock.app.workspace import Workspace
from interlock.change.evidence import Evidence
from interlock.define.refs import Ref


def trace(workspace: Workspace, id: str) -> Journey:
    """The journey of one prediction; changes nothing."""
    prediction = find(workspace, id)
    why = reachable(workspace)
    recalled = None if why else recall(workspace, prediction)
    behind: list[Span] = []
    if recalled is not None:
        why = recalled.why
        checked = _checked(workspace, recalled)
        done = [run for run in runs(workspace.record, workspace.environment) if run.ended]
        behind += _extractions(recalled, prediction, checked, done)
        behind += _materialisations(recalled, prediction, checked, done)
        behind += _lookups(prediction, recalled)
    return Journey(prediction, (*behind, *answered(workspace, prediction)), why)


def _checked(workspace: Workspace, recalled: Recalled) -> dict[str, Evidence]:
    """What was proven of exactly these tables and views, by whichever change; the newest each."""
    facts, found = recalled.version.facts, dict[str, Evidence]()
    for entry in workspace.record.list("evidence"):
        one = Evidence.from_json(entry.body)
        refs = {Ref.parse(text): digest for text, digest in one.subjects.items()}
        ours = all(
            str(ref) in facts.nodes and facts.fingerprint(ref) == digest
            for ref, digest in refs.items()
            if ref.kind in ("table", "view")
        )
        newest = one.check not in found or found[one.check].made_at <= one.made_at
        if ours and newest and one.check.startswith(("contract:", "values:", "replay:")):
            found[one.check] = one
    return found


def _verdict(checked: Mapping[str, Evidence], *checks: str) -> str:
    """The worst verdict of these checks; nothing proven is said as such."""
    order = ("fail", "inconclusive", "pass")
    found = [checked[name].verdict for name in checks if name in checked]
    return min(found, key=order.index) if found else "not checked"


def _extractions(
    recalled: Recalled,
    prediction: Prediction,
    checked: Mapping[str, Evidence],
    done: Sequence[Run],
) -> Iterator[Span]:
    """Every source below the views that were read, with the newest event that came through it."""
    project = recalled.version.project
    newest: dict[str, Met] = {}
    readers: dict[str, list[str]] = {}
    for met in recalled.met:
        for name in sorted(all_tables(project.tables, project.views[met.lookup.view].sql)):
            if name in project.tables and project.tables[name].sql is None:
                readers.setdefault(name, []).append(met.lookup.view)
                if name not in newest or _event(met) > _event(newest[name]):
                    newest[name] = met
    for name, met in sorted(newest.items()):
        table, run = project.tables[name], _run(done, f"table:{name}", prediction.at)
        event, available = instant_of(met.row and met.row.event_time), _available(met)
        yield Span(
            "extraction", f"table:{name}", event, available,
            _verdict(checked, f"contract:{name}"), _age(prediction, event),
            {
                "from": table.source.csv if table.source else table.stored_as or "pushed rows",
                "views": readers[name], "read": _told(run), "newest_of": met.lookup.view,
            },
        )  # fmt: skip


def _materialisations(
    recalled: Recalled,
    prediction: Prediction,
    checked: Mapping[str, Evidence],
    done: Sequence[Run],
) -> Iterator[Span]:
    """Every view that was read: which table, brought up by which refresh, proven by what."""
    for met in recalled.met:
        view = f"view:{met.lookup.view}"
        run = _run(done, view, prediction.at)
        event = instant_of(met.row and met.row.event_time)
        project = recalled.version.project
        below = all_tables(project.tables, project.views[met.lookup.view].sql)
        checks = [f"values:{met.lookup.view}", f"replay:{met.lookup.view}"]
        checks += [f"contract:{name}" for name in below if name in project.tables]
        yield Span(
            "materialisation", view, run.started if run else None, run.ended if run else None,
            _verdict(checked, *checks), _age(prediction, event),
            {
                "table": met.table, "fingerprint": met.lookup.fingerprint[:12],
                "refreshed": _told(run) if run else "built with its release",
                "known": text_of(instant_of(met.known)),
            },
        )  # fmt: skip


def _lookups(prediction: Prediction, recalled: Recalled) -> Iterator[Span]:
    """Each view as the store had it, if it had what the warehouse has."""
    begun, found, _ = moments(prediction)
    for met in recalled.met:
        event = text_of(instant_of(met.row and met.row.event_time))
        yield Span(
            "lookup", f"view:{met.lookup.view}", begun, found, met.status, met.said.age,
            {"entity": met.key, "event_time": event, "fallbacks": list(met.said.fallbacks),
             "absent": list(met.said.absent)},
        )  # fmt: skip


def _run(done: Sequence[Run], ref: str, at: datetime) -> Run | None:
    """The last refresh before `at` that moved this thing."""
    moved = [
        run
        for run in done
        if run.ended and run.ended <= at and any(part["ref"] == ref for part in run.parts)
    ]
    return moved[-1] if moved else None


def _told(run: Run | None) -> str:
    if run is None or run.ended is None:
        return "when its release was made ready"
    return f"{text_of(run.started)} to {text_of(run.ended)} by {run.by}"


def _event(met: Met) -> float:
    return met.row.event_time if met.row else float("-inf")


def _available(met: Met) -> datetime | None:
    """When the row had become available; unknown where the view does not declare it."""
    if met.row is None or met.lookup.available_at is None:
        return None
    return instant_of(met.row.available_at)


def _age(prediction: Prediction, event: datetime | None) -> float | None:
    return None if event is None else (prediction.at - event).total_seconds()
