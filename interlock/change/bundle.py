"""Everything about one change in one signed archive, and how anybody checks it offline.

Documents are plain JSON for people. Beside each lies a statement (`envelope`) that says the same,
sealed. One more seal counts all files. The rows of the record that the documents were made from
come with proofs that they are in the log under a signed checkpoint, and the documents are held
against them: a bundle that says something else than the record did is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interlock.change.archive import packed, unpacked
from interlock.change.change import Change
from interlock.change.checkpoints import Check, Key, Sign, checkpoint_in, opened
from interlock.change.envelope import PREDICATES, sealed, statement, unsealed
from interlock.change.evidence import Evidence
from interlock.change.names import pseudonyms_in, shown
from interlock.change.proofs import Proven, against, names_against
from interlock.define.digest import canonical, digest, digest_bytes
from interlock.errors import InterlockError
from interlock.ports import Checkpoint, Json, Named

DOCUMENTS = (
    "request", "impact", "rollback", "evidence", "signoffs", "decisions", "timeline",
)  # fmt: skip
_GRAPH = "graph.json"
_ROWS, _CHECKPOINT, _KEY, _WHOLE = "audit.json", "checkpoint.txt", "key.txt", "bundle"
_REQUEST = (
    "id", "title", "author", "environment", "state", "said", "reason", "expected",
    "rollback_criteria", "risks", "because", "made_against", "release", "plan_digest",
)  # fmt: skip


@dataclass(frozen=True)
class Contents:
    """What a bundle is made of. `rows` are proven up to `checkpoint`, a signed note.

    `graph`: the drawing that the change holds the digest of, where it holds one.
    """

    change: Change
    evidence: tuple[Evidence, ...]
    decisions: Json
    timeline: tuple[Json, ...]
    rows: tuple[Proven, ...]
    names: tuple[Named, ...]
    checkpoint: str
    graph: bytes = b""


def documents(contents: Contents) -> dict[str, Any]:
    """The readable parts, by name."""
    change = contents.change
    plan = dict(change.plan or {})
    return {
        "request": {
            **{name: getattr(change, name) for name in _REQUEST},
            "opened_at": change.to_json()["opened_at"],
        },
        "impact": {"plan": plan, "plan_digest": change.plan_digest},
        "rollback": _way_back(change),
        "evidence": [{**one.to_json(), "digest": one.digest} for one in contents.evidence],
        "signoffs": {
            "signoffs": [one.to_json() for one in change.signoffs],
            "waivers": [one.to_json() for one in change.waivers],
        },
        "decisions": contents.decisions,
        "timeline": list(contents.timeline),
    }


def _way_back(change: Change) -> Json:
    rollout = change.details.get("rollout", {})
    return {
        "to_release": change.made_against,
        "when": change.rollback_criteria,
        "how": "one compare-and-swap on the Route; rows and models of the release before stay",
        "window": rollout.get("rollback_window"),
        "stages": rollout.get("stages"),
        "guardrails": change.details.get("judge"),
    }


def bundled(contents: Contents, key: Key, sign: Sign) -> bytes:
    """The archive, the same bytes for the same contents and key."""
    change = contents.change
    found = documents(contents)
    files = {f"{name}.json": canonical(found[name]) for name in DOCUMENTS}
    subjects = _subjects(change.plan_digest, change.release)
    for name in DOCUMENTS:
        said = statement(subjects, name, found[name])
        files[f"attestations/{name}.dsse.json"] = sealed(said, key, sign)
    rows = {
        "rows": [row.to_json() for row in contents.rows],
        "names": [dict(named.__dict__) for named in contents.names],
    }
    files[_ROWS] = canonical(rows)
    files[_CHECKPOINT] = contents.checkpoint.encode()
    files[_KEY] = f"{key}\n".encode()
    if change.drawing:
        files[_GRAPH] = contents.graph
    whole = {name: digest_bytes(data) for name, data in files.items()}
    said = statement(whole, _WHOLE, {"change": change.id})
    return packed({**files, _seal(_WHOLE): sealed(said, key, sign)})


def _seal(name: str) -> str:
    return f"attestations/{name}.dsse.json"


def _subjects(plan: str, release: str) -> dict[str, str]:
    """What every claim is about; a change that was never planned has neither."""
    return {name: sha for name, sha in (("plan", plan), ("release", release)) if sha}


# --- checking ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Checked:
    """What a bundle is, if nothing is against it. `key` is the one that it is signed with."""

    change: str = ""
    key: str = ""
    checkpoint: Checkpoint | None = None
    rows: int = 0
    objections: tuple[str, ...] = ()


def checked(data: bytes, key: Key | None, check: Check) -> Checked:
    """Everything against the archive `data`; `key` is whose word counts.

    Without it the archive's own key is taken: then nothing was edited since somebody
    signed it, and who that was remains open.
    """
    try:
        files = unpacked(data)
        own = Key.parse(_text(files, _KEY))
        return _checked(files, key or own, check)
    except InterlockError as error:
        return Checked(objections=error.objections or (error.message,))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Checked(objections=(f"a part of it cannot be read: {error!r}",))


def _checked(files: Mapping[str, bytes], key: Key, check: Check) -> Checked:
    whole = unsealed(_part(files, _seal(_WHOLE)), key, check)
    found = [*_against_whole(files, whole), *_against_documents(files, key, check)]
    note = _text(files, _CHECKPOINT)
    head = checkpoint_in(opened(note, key, check), key.name)
    body = json.loads(_part(files, _ROWS))
    rows = [Proven.from_json(row) for row in body["rows"]]
    names = [Named(**named) for named in body["names"]]
    found += [said for row in rows for said in against(row, head)]
    found += names_against(names)
    found += _against_record(files, rows, names)
    change = str(whole["predicate"]["change"])
    return Checked(change, str(key), head, len(rows), tuple(found))


def _against_whole(files: Mapping[str, bytes], whole: Json) -> Iterator[str]:
    if whole["predicateType"] != f"{PREDICATES}{_WHOLE}/1":
        yield "the seal over all files is a seal of something else"
    counted = {one["name"]: one["digest"]["sha256"] for one in whole["subject"]}
    there = set(files) - {_seal(_WHOLE)}
    yield from (f"{name} is missing" for name in sorted(counted.keys() - there))
    yield from (f"{name} was put in" for name in sorted(there - counted.keys()))
    for name in sorted(there & counted.keys()):
        if digest_bytes(files[name]) != counted[name]:
            yield f"{name} was edited"


def _against_documents(files: Mapping[str, bytes], key: Key, check: Check) -> Iterator[str]:
    request = json.loads(_part(files, "request.json"))
    subjects = statement(_subjects(request["plan_digest"], request["release"]), "", None)["subject"]
    for name in DOCUMENTS:
        said = unsealed(_part(files, _seal(name)), key, check)
        if said["predicateType"] != f"{PREDICATES}{name}/1" or said["subject"] != subjects:
            yield f"the seal of {name} is a seal of something else"
        if canonical(said["predicate"]) != files[f"{name}.json"]:
            yield f"{name}.json is not what was sealed"


def _against_record(
    files: Mapping[str, bytes], rows: Sequence[Proven], names: Sequence[Named]
) -> Iterator[str]:
    """Do the documents say what the rows of the record say?"""
    known = {named.pseudonym: named.name for named in names}
    bodies = {row.leaf["ref"]: shown(row.body, known) for row in rows if row.body is not None}
    said = {name: json.loads(_part(files, f"{name}.json")) for name in DOCUMENTS}
    ref = f"change:{said['request']['id']}"
    if ref not in bodies:
        yield f"{ref} is not among the proven rows"
        return
    change = Change.from_json(json.loads(bodies[ref]))
    evidence = tuple(
        Evidence.from_json(json.loads(bodies[f"evidence:{one}"]))
        for one in change.evidence
        if f"evidence:{one}" in bodies
    )
    record = Contents(change, evidence, said["decisions"], (), tuple(rows), (), "")
    for name, found in documents(record).items():
        if name != "timeline" and canonical(found) != files[f"{name}.json"]:
            yield f"{name}.json says something else than the record does"
    # A plan that names somebody who was forgotten has another digest; its row has not.
    whole = not pseudonyms_in(canonical(change.plan).decode())
    if change.plan is not None and whole and digest(change.plan) != change.plan_digest:
        yield "the plan is not the one whose digest was signed"
    if change.drawing and digest_bytes(_part(files, _GRAPH)) != change.drawing:
        yield f"{_GRAPH} is not the drawing that the change holds the digest of"
    yield from _against_timeline(said["timeline"], rows, known)


def _against_timeline(
    timeline: Sequence[Json], rows: Sequence[Proven], known: Mapping[str, str]
) -> Iterator[str]:
    leaves = {row.leaf["seq"]: row.leaf for row in rows}
    for line in timeline:
        leaf = leaves.get(line["seq"])
        if leaf is None or line != {**line, **happened(leaf, known)}:
            yield f"line {line['seq']} of the timeline is not in the record"


def happened(leaf: Mapping[str, Any], known: Mapping[str, str]) -> Json:
    """Who wrote what, when and from where: one line of a timeline."""
    return {
        "seq": leaf["seq"],
        "at": leaf["written_at"],
        "what": f"{leaf['ref']} version {leaf['version']}",
        "by": known.get(leaf["by"], leaf["by"]),
        "source": known.get(leaf["source"], leaf["source"]),
    }


def _part(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise ValueError(f"{name} is missing")
    return files[name]


def _text(files: Mapping[str, bytes], name: str) -> str:
    return _part(files, name).decode()
