"""`interlock drill rollback`: the way back, walked on a copy, and everything held against before.

The copy is the record, the warehouse, the online store and the artifacts of this environment,
made while others work. The rollback on it is the one of production: the same code, the same
compare-and-swap. Then every part of the release that is back is compared with what it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import numpy as np

from interlock.adapters.predictions import JsonLinesLog
from interlock.app.asked import Ask
from interlock.app.build import Say, quiet
from interlock.app.changes import all_changes, held
from interlock.app.copies import copied
from interlock.app.decide import refuse_rollback, rollback
from interlock.app.feed import lookups_of
from interlock.app.predictions import Prediction, latest
from interlock.app.releases import load_release
from interlock.app.serving import Gateway
from interlock.app.tick import look
from interlock.app.versions import stored
from interlock.app.workspace import Workspace
from interlock.define.digest import digest, digest_bytes
from interlock.define.keys import entity_keys
from interlock.define.refs import Ref
from interlock.errors import InterlockError, NotFound, Refused
from interlock.features.compile import physical
from interlock.features.dialect import dialect_of
from interlock.features.snapshot import rows_text, snapshot_sql
from interlock.ports import Json, Put
from interlock.rollout.state import ENDED, RolloutState
from interlock.serve.packed import pack
from interlock.serve.request import Sent
from interlock.serve.spec import Lookup, ServingSpec

KEYS = 10_000
"""Of each view so many entities are read online, in the order of their keys."""
ANSWERS = 500
"""So many logged requests are asked again, and so many logged scores made again."""
CHANGE = "the change, at its end"
ASKED, SCORED = "requests asked again", "logged scores, bit for bit"
GONE, DAMAGED = "not there", "damaged"
_LOOKS = 20
_DATATYPES = {"double": "FP64", "integer": "INT64", "boolean": "BOOL"}

Held = Mapping[str, str]


@dataclass(frozen=True)
class Part:
    """One kind of thing that came back: how many of it, and which are not what they were."""

    name: str
    count: int
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drilled:
    """What a drill showed. `seconds` from the order: until the `route` had moved, until all names
    and states had followed (`everything`), until a new `gateway` was ready to answer.
    """

    id: str
    change: str
    back_from: str
    back_to: str
    parts: tuple[Part, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Nothing is wrong, and something answered: without any answer nothing was shown."""
        answers = sum(part.count for part in self.parts if part.name in (ASKED, SCORED))
        return answers > 0 and not any(part.wrong for part in self.parts)

    def to_json(self) -> Json:
        parts = [{**asdict(part), "wrong": list(part.wrong)} for part in self.parts]
        return {**self.__dict__, "parts": parts, "seconds": dict(self.seconds),
                "passed": self.passed}  # fmt: skip


def drill_rollback(workspace: Workspace, change: str = "", *, by: str, say: Say = quiet) -> Drilled:
    """Take `change` (by default the last that can be) back on a copy; kept in the record.

    Raises `Refused` where nothing can be taken back, or engines cannot be copied.
    """
    change = change or _last(workspace)
    refuse_rollback(workspace, held(workspace.record, change).change)
    with copied(workspace, "drill", say) as copy:
        say(f"taking {change} back on the copy")
        found = _walked(workspace, copy, change, by, say)
    ref = Ref("drill", f"D-{len(workspace.record.list('drill')) + 1}")
    found = Drilled(**{**found.__dict__, "id": ref.name})
    workspace.record.write([Put(ref, found.to_json(), 0)], by=by, at=workspace.now())
    return found


def drills(workspace: Workspace) -> list[Json]:
    """Every drill so far, the newest first."""
    return [dict(entry.body) for entry in reversed(workspace.record.list("drill"))]


def _last(workspace: Workspace) -> str:
    """The newest change that can be taken back; raises `Refused`, saying of each why it cannot."""
    objections = []
    for change in all_changes(workspace):
        going = change.under_way or change.state == "COMMITTED"
        if change.environment != workspace.environment or not going:
            continue
        try:
            refuse_rollback(workspace, change)
        except Refused as error:
            objections.append(error.message)
            continue
        if change.made_against is not None:
            return change.id
    raise Refused(
        f"nothing in {workspace.environment} can be taken back now",
        help="drill while a rollout runs, or in the rollback window after a commit",
        objections=objections,
    )


def _walked(workspace: Workspace, copy: Workspace, change: str, by: str, say: Say) -> Drilled:
    before = held(copy.record, change).change
    back_to = before.made_against
    if back_to is None:
        raise Refused(f"{change} is the first release: there is nothing to go back to",
                      help="drill once a second one was committed")  # fmt: skip
    say("reading what stands ready to go back to")
    was = _parts(copy, back_to)
    began = time.perf_counter()
    rollback(copy, change, by=by, reason="a drill on a copy")
    seconds = {"route": time.perf_counter() - began}
    ended = _followed(copy, change)
    seconds["everything"] = time.perf_counter() - began
    logged = latest(workspace, back_to, ANSWERS)
    try:
        with _gateway(copy) as gateway:
            seconds["gateway"] = time.perf_counter() - began
            say("asking again, and comparing every part with what it was")
            asked = _asked(gateway, back_to, logged)
    except InterlockError as error:
        asked = Part(ASKED, 0, (f"a new gateway does not start: {error.message}",))
    compared = _compared(was, _parts(copy, back_to))
    route, scored = _route(copy, before.release, back_to), _scored(copy, back_to, logged)
    parts = (route, ended, *compared, asked, scored)
    return Drilled("", change, before.release, back_to, parts, seconds)


def _followed(copy: Workspace, change: str) -> Part:
    """The controller's looks, until the change has come to its end."""
    said = ""
    for _ in range(_LOOKS):
        look(copy, change)
        state = RolloutState.from_json(held(copy.record, change).change.details["rollout"])
        if state.state in ENDED:
            return Part(CHANGE, 1)
        said = state.said
    return Part(CHANGE, 1, (said,))


# --- what a release consists of --------------------------------------------------------


def _parts(copy: Workspace, release: str) -> dict[str, Held]:
    """By kind, a digest of each thing that answers for `release`."""
    entry, serving = (copy.record.get(Ref(kind, release)) for kind in ("release", "serving"))
    if entry is None or serving is None:
        raise NotFound(f"release {release[:12]} is not in the record")
    spec = ServingSpec.from_json(serving.body)
    artifacts = {f"model:{name}": model.artifact for name, model in spec.models.items()}
    artifacts["definitions"] = entry.body["definitions"]
    return {
        "release": {"its components": digest(entry.body)},
        "serving, flags and services": {"specification": digest(serving.body)},
        "artifacts": {name: _bytes(copy, named) for name, named in artifacts.items()},
        "tables and views": dict(_tables(copy, release)),
        "online rows": {one.view: _online(copy, one) for one in lookups_of([spec])},
    }


def _bytes(copy: Workspace, named: str) -> str:
    try:
        return digest_bytes(copy.artifacts.get(named))
    except InterlockError as error:
        return f"{DAMAGED}: {error.message}"


def _tables(copy: Workspace, release: str) -> Iterator[tuple[str, str]]:
    version, dialect = stored(copy, release), dialect_of(copy.warehouse)
    names = {f"{v.view}@{v.version}": v.ref for v in version.project.views.values()}
    for table in version.project.tables.values():
        if not table.push and not table.stored_as:
            names[table.name] = table.ref
    for name, ref in sorted(names.items()):
        target = physical(name, version.facts.fingerprint(ref))
        if not copy.warehouse.has(target):
            yield str(ref), GONE
            continue
        said = copy.warehouse.query(snapshot_sql(target, None, dialect)).to_pylist()[0]
        yield str(ref), rows_text(said)


def _online(copy: Workspace, lookup: Lookup) -> str:
    dialect, built = dialect_of(copy.warehouse), physical(lookup.view, lookup.fingerprint)
    if not copy.warehouse.has(built):
        return GONE
    names = ", ".join(map(dialect.quoted, lookup.entity))
    sql = f"SELECT DISTINCT {names} FROM {built} AS t ORDER BY {names} LIMIT {KEYS}"
    columns = copy.warehouse.query(sql).to_pydict()
    keys = [key for key in entity_keys([columns[name] for name in lookup.entity]) if key]
    rows = copy.online.read([(lookup.fingerprint, key) for key in keys])
    return digest_bytes(*(b"-" if row is None else pack(row) for row in rows))


# --- what is compared -----------------------------------------------------------------


def _compared(was: Mapping[str, Held], now: Mapping[str, Held]) -> Iterator[Part]:
    for name, before in was.items():
        wrong = [
            f"{one}: was {said}, is {now[name].get(one, GONE)}"
            for one, said in before.items()
            if now[name].get(one) != said or said.startswith((GONE, DAMAGED))
        ]
        yield Part(name, len(before), tuple(wrong))


def _route(copy: Workspace, back_from: str, back_to: str) -> Part:
    """Everybody is on the release before, and what went back stays away."""
    route, wrong = copy.route(), []
    if route.stable != back_to:
        wrong.append(f"the Route names {route.stable or 'nothing'}")
    wrong += [f"{one.release[:12]} is still a candidate" for one in route.candidates]
    if back_from not in route.blocked:
        wrong.append(f"{back_from[:12]} is not blocked: it could be proposed unchanged")
    return Part("route", 1, tuple(wrong))


def _asked(gateway: Gateway, release: str, logged: Sequence[Prediction]) -> Part:
    """What was asked of that release, asked of a gateway of its own on the copy."""
    sent = [one for one in logged if one.sent][:ANSWERS]
    wrong = [said for one in sent if (said := _answered(gateway, release, one))]
    return Part(ASKED, len(sent), tuple(wrong))


def _scored(copy: Workspace, release: str, logged: Sequence[Prediction]) -> Part:
    """The logged scores of that release, made once more."""
    mine = [one for one in logged if one.release == release and one.inputs and not one.error]
    return Part(SCORED, len(mine[:ANSWERS]), tuple(_other(copy, release, mine[:ANSWERS])))


def _other(copy: Workspace, release: str, logged: Sequence[Prediction]) -> Iterator[str]:
    """The scores that the release's models do not give any more."""
    entry = copy.record.get(Ref("serving", release))
    try:
        loaded = load_release(ServingSpec.from_json(entry.body if entry else {}), copy.artifacts)
        for one in logged:
            row = np.array([[float("nan") if v is None else v for v in one.inputs]])
            score = float(loaded.scorer(one.model).score(row)[0])
            if score != one.score:
                yield f"prediction {one.id} said {one.score!r}, is {score!r}"
    except InterlockError as error:
        yield error.message


def _answered(gateway: Gateway, release: str, one: Prediction) -> str:
    """What is wrong with the answer to what `one` was asked; empty when nothing is."""
    at = one.at if gateway.replay_clock else None
    try:
        types = gateway.live().stable.spec.models[one.model].columns
        sent = {
            name: Sent(_DATATYPES.get(types.get(name, ""), "BYTES"), [value])
            for name, value in (one.sent or {}).items()
        }
        answered = gateway.answer(Ask(one.model, sent, 1, at))
    except InterlockError as error:
        return f"prediction {one.id} asked again: {error.message}"
    (by,) = answered.releases()
    return "" if by == release else f"prediction {one.id} asked again: answered by {by[:12]}"


@contextmanager
def _gateway(copy: Workspace) -> Iterator[Gateway]:
    log = JsonLinesLog(copy.state / "predictions", name="drill")
    replayed = copy.declared.clock == "replay"
    gateway = Gateway(
        copy.record, copy.artifacts, copy.online, log, copy.environment, replay_clock=replayed
    ).start()
    try:
        yield gateway
    finally:
        gateway.stop()
        log.close()
