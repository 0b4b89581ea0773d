"""The chapters of the demo, one function each. See `demo` for the rules they keep."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from interlock.app import decide
from interlock.app.changes import held
from interlock.app.loop import look_after
from interlock.app.planning import plan_now
from interlock.app.play import play_through
from interlock.app.storykit import Server, Stage, background_load, moment
from interlock.app.tick import tick
from interlock.app.traffic import Played
from interlock.change.change import Change
from interlock.change.evidence import Evidence
from interlock.errors import Refused
from interlock.plan.explain import difference_lines

if TYPE_CHECKING:
    from interlock.app.demo import Teller

MODEL = "late"
LATE = timedelta(hours=24)


def _hold(condition: bool, otherwise: str) -> None:
    """The story is only told when it is true."""
    if not condition:
        raise Refused(f"the demo did not go as it should: {otherwise}")


def _failed(evidence: Mapping[str, Evidence]) -> list[Evidence]:
    return [piece for piece in evidence.values() if piece.verdict != "pass"]


def first_release(stage: Stage, tell: Teller, flights: int) -> None:
    """Everything from nothing: 12 views, one model, three services."""
    tell.chapter(
        "The first release",
        f"{flights:,} flights, 12 feature views in plain SQL, one model, three services that act "
        "on its answers: rebooking, crew, gates. All of it is one change, CR-1.",
    )
    change = stage.propose("First release of the late-flight model", "wei")
    evidence = stage.evidence(change)
    _hold(not _failed(evidence), "; ".join(p.sentence for p in _failed(evidence)))
    signed = stage.sign(change)
    decide.apply(stage.workspace, change.id, by="sam")
    tick(stage.workspace)
    route = stage.workspace.route()
    _hold(route.stable == change.release, "the first release is not live")
    replayed = sum(p.n or 0 for p in evidence.values() if p.check.startswith("replay:"))
    tell.fact(f"signed by {', '.join(signed)}")
    tell.proven(
        f"{len(evidence)} checks pass; {replayed:,} training values could have been known at "
        f"their time (as-of replay); release {change.release[:12]} is live"
    )


def seconds(stage: Stage, tell: Teller, server: Server) -> None:
    """(a) A unit changes upstream."""
    tell.chapter(
        "A column changes its unit",
        "A data engineer turns dep_delay from minutes into seconds. No test of the warehouse "
        "fails, and the model's metric hardly moves.",
    )
    stage.edit("tables/wh_departures.sql", ("  r.dep_delay,", "  r.dep_delay * 60 AS dep_delay,"))
    stage.edit("tables/wh_departures.yaml", ("BETWEEN -60 AND 1440", "BETWEEN -3600 AND 86400"))
    plan = plan_now(stage.workspace)
    moved = [r for r in plan.reached if r.ref.kind == "feature"]
    tell.fact(f"plan: {plan.reached[0].sentence}; {len(moved)} features, " + _reached(plan))
    change = stage.propose("dep_delay in seconds", "amina")
    evidence = stage.evidence(change)
    values = [p for c, p in evidence.items() if c.startswith("values:") and p.verdict == "fail"]
    _hold(len(values) == 5, f"{len(values)} views were blocked, not 5")
    for piece in values[:2]:
        tell.fact(f"{piece.check}: {piece.sentence}")
    objections = stage.refused(change, "sam")
    named = sum("x60" in p.sentence or "seconds" in p.sentence for p in values)
    waiting = [p for p in evidence.values() if p.not_run == "feature"]
    _hold(bool(waiting), "a model was compared on features that had failed")
    moved_ = _forced(stage, change)
    tell.proven(
        f"blocked by comparing VALUES: {len(values)} views changed, {named} of them named as "
        f"minutes -> seconds; {len(waiting)} checks that stand on them were not run. Waived to "
        f"see it, the model's log-loss would have moved {moved_}; apply lists {len(objections)} "
        "objections"
    )
    decide.withdraw(stage.workspace, change.id, by="amina", reason="to be fixed in a view")
    _fix_in_a_view(stage, tell)
    stage.undo()


def _forced(stage: Stage, change: Change) -> str:
    """What comparing the model alone would have said, once the features are waived."""
    stage.waive(change, "tomas", "drill: to see what the model would have said", ("feature",))
    comparison = stage.evidence(change)[f"model_comparison:{MODEL}"]
    return f"{_share(comparison)} ({comparison.verdict})"


def _fix_in_a_view(stage: Stage, tell: Teller) -> None:
    """The same change, with a view that keeps the old meaning for its readers."""
    stage.edit("tables/wh_departures.yaml", ("unit: min,", "unit: s,"))
    broken = plan_now(stage.workspace).objections
    _hold(bool(broken), "a declared change of unit was not refused at plan time")
    tell.fact(f"with the new unit declared, the plan itself refuses: {broken[0]}")
    columns = "flight_id, carrier, origin, dest, tailnum, sched_dep, cancelled, available_at"
    stage.add(
        "tables/wh_departures_min.sql",
        f"SELECT {columns}, CAST(dep_delay / 60 AS BIGINT) AS dep_delay\nFROM wh.departures\n",
    )
    contract = (stage.folder / "tables/wh_departures.yaml").read_text()
    swaps = {
        "name: wh.departures": "name: wh.departures_min", "unit: s,": "unit: min,",
        "wh_departures.sql": "wh_departures_min.sql", "BETWEEN -3600 AND 86400":
        "BETWEEN -60 AND 1440",
    }  # fmt: skip
    for before, after in swaps.items():
        contract = contract.replace(before, after)
    stage.add("tables/wh_departures_min.yaml", contract)
    for file in sorted((stage.folder / "features").glob("*.sql")):
        if "dep_delay" in file.read_text().partition("*/")[2]:
            stage.edit(f"features/{file.name}", ("wh.departures", "wh.departures_min"))
    change = stage.propose("dep_delay in seconds, with a view in minutes", "amina")
    evidence = stage.evidence(change)
    _hold(not _failed(evidence), "; ".join(p.sentence for p in _failed(evidence)))
    values = [p for c, p in evidence.items() if c.startswith("values:")]
    rows = sum(p.n or 0 for p in values)
    tell.proven(
        f"fixed by wh.departures_min: {len(values)} views compared on {rows:,} rows, "
        f"{sum(p.value or 0 for p in values):.0f} values changed; all {len(evidence)} checks pass"
    )
    decide.withdraw(stage.workspace, change.id, by="amina", reason="shown; upstream stays as it is")


def overdue(stage: Stage, tell: Teller, server: Server) -> None:
    """(b) A feature that looks right on history and was never knowable."""
    tell.chapter(
        "A feature that knows the future",
        "origin_overdue, as first written, counts overdue flights from wh.departures - which "
        "has no row until a flight leaves. On history its values are the same.",
    )
    stage.edit(
        "features/origin_overdue.sql",
        ("FROM wh.flights AS f\n  LEFT JOIN wh.departures AS d ON d.flight_id = f.flight_id\n"
         "  WHERE d.flight_id IS NULL OR d.cancelled OR d.dep_delay > 15",
         "FROM wh.departures AS f\n  WHERE f.cancelled OR f.dep_delay > 15"),
    )  # fmt: skip
    change = stage.propose("Simpler origin_overdue", "wei")
    evidence = stage.evidence(change)
    values = evidence["values:origin_overdue@1"]
    replay = evidence["replay:origin_overdue@1"]
    _hold(values.verdict == "pass" and replay.verdict == "fail", replay.sentence)
    objections = stage.refused(change, "sam")
    example = (replay.details["examples"] or [{}])[0]
    tell.fact(
        f"flight {example.get('key')}: trained on {example.get('trained')}, "
        f"but only {example.get('replayed')} was known then"
    )
    tell.proven(
        f"history shows {values.value:.0%} of {values.n:,} values changed, replay finds "
        f"{replay.value:.0f} of {replay.n} that could not have been known: blocked "
        f"({len(objections)} objections)"
    )
    decide.withdraw(stage.workspace, change.id, by="wei", reason="the schedule version is right")
    stage.undo()


def class_weight(stage: Stage, tell: Teller, server: Server) -> None:
    """(c) One model, three verdicts."""
    tell.chapter(
        "One model, three verdicts",
        "Late flights are counted three times in training, so that more of them are caught. "
        "Rebooking wants it.",
    )
    stage.edit("models/late.yaml", ("  parameters:\n", "  parameters:\n    class_weight: 3\n"))
    change = stage.propose("Class weight 3", "wei", reason="rebooking catches more late flights")
    # It is less well calibrated by intent: that is taken upon himself, to see the services.
    stage.waive(change, "dana", "drill: rebooking asks for it", ("model",))
    change, evidence = stage.now(change), stage.evidence(change)
    kpis = {name: evidence[f"kpi:{name}"] for name in ("rebooking", "crew", "gates")}
    for name, piece in kpis.items():
        tell.fact(f"{name}: {piece.sentence} -> {piece.verdict}")
    gates, rebooking = kpis["gates"], kpis["rebooking"]
    _hold(gates.verdict == "fail" and (rebooking.value or 0) < 0, gates.sentence)
    stage.sign(change, but=["ops-gates"])
    decide.sign(
        stage.workspace, change.id, by="gina", role="service_owner", team="ops-gates",
        reject=f"gate planning gets {gates.value:+.0%} worse",
    )  # fmt: skip
    objections = stage.refused(change, "sam")
    said = next(o for o in objections if o.startswith("rejected by gina"))
    auc = evidence[f"model_comparison:{MODEL}"].details["auc"]["value"]
    tell.proven(
        f"AUC moved only {auc:+.4f}; rebooking's cost {rebooking.value:+.0%}, the error of gates "
        f"{gates.value:+.0%}: {said}; apply lists {len(objections)} objections"
    )
    decide.withdraw(stage.workspace, change.id, by="wei", reason="gates would lose")
    stage.undo()


def retrain(stage: Stage, tell: Teller, server: Server) -> None:
    """(d) The change that helps all three, through every stage."""
    tell.chapter(
        "A retrain that helps all three",
        "The same model, trained on January to April instead of January to March, and judged on "
        "May. It goes through shadow, 5, 25, 50 and 100 % on the traffic of June.",
    )
    stage.edit(
        "models/late.yaml",
        ("end: 2013-04-01", "end: 2013-05-01"), ("start: 2013-04-01", "start: 2013-05-01"),
    )  # fmt: skip
    change = stage.propose("Retrain on January to April", "wei", reason="spring is in the data")
    evidence = stage.evidence(change)
    _hold(not _failed(evidence), "; ".join(p.sentence for p in _failed(evidence)))
    signed = stage.sign(change)
    decide.apply(stage.workspace, change.id, by="sam")
    tell.fact(f"{len(evidence)} checks pass, signed by {len(signed)} people; the release starts")
    ended = _until(stage, change, ("COMMITTED", "ABORTED"))
    replayer = stage.replayer(server, MODEL)
    played = play_through(
        replayer, moment(1), moment(24), tell.fact, every=timedelta(hours=12), until=ended
    )
    after = stage.now(change)
    _hold(after.state == "COMMITTED", f"it ended as {after.state}: {after.said}")
    epochs = stage.workspace.route().epoch
    gain = {n: evidence[f"kpi:{n}"].value or 0.0 for n in ("rebooking", "crew", "gates")}
    tell.proven(
        f"{played.rows:,} flights answered, {played.rows - played.reasons['error']:,} without "
        f"error; {played.flags_asked:,} flags asked by three services, {played.mixed} told "
        f"another release than the answer; live after {epochs} moves of one route; on history "
        f"rebooking {gain['rebooking']:+.0%}, crew {gain['crew']:+.0%}, gates {gain['gates']:+.0%}"
    )
    stage.keep()


def _until(stage: Stage, change: Change, states: tuple[str, ...]) -> Any:
    return lambda now: held(stage.workspace.record, change.id).change.state in states


def shuffled(stage: Stage, tell: Teller, server: Server) -> None:
    """(e) A model that learnt nothing, forced through, is taken back."""
    tell.chapter(
        "A bad model, forced into the canary",
        "The labels are shuffled before training. The evidence fails; for the drill it is waived, "
        "under a name and with a reason, and the stages start at 25 % without a shadow.",
    )
    stage.edit("models/late.yaml", ("  parameters:\n", "  parameters:\n    shuffle_labels: true\n"))
    stage.edit(
        "interlock.yaml",
        ("      - {name: shadow, weight: 0, hold: 3d}\n", ""),
        ("      - {name: step_5, weight: 0.05, hold: 2d}\n", ""),
    )
    change = stage.propose("Drill: a model without sense", "wei", reason="to see it stopped")
    failing = stage.waive(change, "dana", "drill: the rollout must stop this by itself")
    _hold(bool(failing), "a model without sense passed its checks")
    change = stage.now(change)
    stage.sign(change)
    decide.apply(stage.workspace, change.id, by="sam")
    tell.fact(f"{len(failing)} failed checks waived by dana; the canary starts")
    start = stage.workspace.now()
    ended = _until(stage, change, ("ABORTING", "ABORTED"))
    replayer = stage.replayer(server, MODEL)
    stable = stage.workspace.route().stable
    with background_load(stage.workspace, server, MODEL) as heard:
        played = play_through(
            replayer, start, start + timedelta(days=6), tell.fact,
            every=timedelta(hours=3), until=ended,
        )  # fmt: skip
    last = max((h.at for h in heard if h.release == change.release), default=0.0)
    verdict_at = stage.workspace.decided_at
    tick(stage.workspace)
    after, route = stage.now(change), stage.workspace.route()
    _hold(after.state == "ABORTED" and route.stable == stable, f"it ended as {after.state}")
    _hold(change.release in route.blocked, "the digest is not blocked")
    tell.proven(
        f"taken back by the judge after {played.releases[change.release]:,} answers of the "
        f"candidate ({after.said}); {max(last - verdict_at, 0) * 1000:.0f} ms from the verdict "
        f"to its last answer among {len(heard):,} asked meanwhile; its digest is blocked"
    )
    _again_is_refused(stage, tell)
    stage.undo()


def _again_is_refused(stage: Stage, tell: Teller) -> None:
    try:
        stage.propose("The same again", "wei")
    except Refused as error:
        tell.proven(f"proposed again unchanged, it is refused: {error.message}")
        return
    raise Refused("a rolled-back release could be proposed again unchanged")


def late_weather(stage: Stage, tell: Teller, server: Server) -> None:
    """(f) A source is late: what is answered then was declared and rehearsed before."""
    tell.chapter(
        "The weather stops coming",
        "The feed of observations stands still for a day. A model that never saw a missing value "
        "reads NULL as nonsense, so the views declare what to answer instead.",
    )
    workspace = stage.workspace
    midnight = workspace.now().replace(hour=0) + timedelta(days=1)
    replayer = stage.replayer(server, MODEL)
    assert replayer.feeder is not None
    play_through(replayer, workspace.now(), midnight, drive=False)
    replayer.feeder.withheld = {"origin_weather@1"}
    replayer.played = Played()
    late = play_through(replayer, midnight, midnight + LATE, drive=False)
    present, null = _weather_means(stage, midnight, midnight + LATE)
    used, mean = late.reasons["fallback"], late.mean_score or 0.0
    _hold(used > 0 and late.reasons["error"] == 0, "no fallback was used")
    _hold(abs(mean - present) < abs(null - present), "the fallback did not help")
    tell.proven(
        f"{used:,} of {late.rows:,} answers name a fallback and none failed; these flights get "
        f"a mean score of {present:.3f} with their weather, {mean:.3f} with the declared "
        f"fallback, {null:.3f} had NULL been served"
    )


def _weather_means(stage: Stage, start: datetime, end: datetime) -> tuple[float, float]:
    """The live model's mean score on the flights of [start, end): with weather, and with NULL."""
    import numpy as np

    from interlock.app.training import column_values, scorer
    from interlock.app.versions import stable
    from interlock.models.dataset import matrix

    version = stable(stage.workspace)
    assert version is not None
    builder, trained = version.builder(stage.workspace), version.models[MODEL]
    relation = builder.rows(version.project.models[MODEL], start.date(), end.date())
    table = stage.workspace.warehouse.query(f"SELECT * FROM {relation}")
    columns = {name: column_values(table.column(name)) for name in trained.inputs}
    x = matrix(columns, trained.inputs, trained.categories)
    load = scorer(builder, trained)
    present = float(load.score(x).mean())
    x[:, [i for i, name in enumerate(trained.inputs) if name.startswith("wx_")]] = np.nan
    return present, float(load.score(x).mean())


def june(stage: Stage, tell: Teller, server: Server) -> None:
    """(g) The week in which the model goes wrong, and the calm ones in which inputs drift."""
    tell.chapter(
        "The week of 24 June",
        "Every week some input drifts far from training. Only arrived labels say whether that "
        "matters.",
    )
    replayer = stage.replayer(server, MODEL)
    calm = []
    workspace = stage.workspace
    a_day = timedelta(days=1)
    play_through(replayer, workspace.now(), moment(24), drive=False, every=a_day)
    seen = look_after(workspace).seen[0]
    calm.append(seen)
    _hold(seen.ruling.due is None, f"a calm week fired: {seen.ruling}")
    tell.fact(
        f"until 23 June: calibration error {seen.calibration.ece:.3f}, while "
        f"{seen.drift[0].feature} has PSI {seen.drift[0].psi:.1f}: nothing is due"
    )
    fired = None
    for day in range(27, 32):
        until = moment(day) if day < 31 else moment(1, 7)
        play_through(replayer, workspace.now(), until, drive=False, every=a_day)
        found = look_after(workspace, act=True, progress=tell.step)
        if found.seen[0].ruling.due:
            fired = found.seen[0]
            break
    _hold(fired is not None, "the bad week did not fire the trigger")
    assert fired is not None
    assert fired.ruling.due is not None
    change = held(workspace.record, fired.change or "").change
    evidence = stage.evidence(change)
    comparison = evidence[f"model_comparison:{MODEL}"]
    tell.fact(f"{fired.ruling.due.sentence}")
    tell.proven(
        f"calm week {calm[0].calibration.ece:.3f} with PSI {calm[0].drift[0].psi:.1f}: no run; "
        f"bad week {fired.calibration.ece:.3f}: {change.id} ({change.title}) opened by itself, "
        f"its challenger's log-loss {_share(comparison)}: {comparison.verdict}"
    )


def _share(piece: Evidence) -> str:
    if piece.value is None or piece.interval is None:
        return "not measured"
    return f"{piece.value:+.1%} [{piece.interval[0]:+.1%}, {piece.interval[1]:+.1%}]"


def _reached(plan: Any) -> str:
    touched = [str(r.ref) for r in plan.reached if r.ref.kind in ("model", "service")]
    changed = sum(1 for d in plan.differences for _ in difference_lines(d))
    return f"{', '.join(touched)} move ({changed} lines of difference)" if touched else ""
