"""The audit in people's hands: verify it, sign its head, prove one entry, forget a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from interlock.app import refusals
from interlock.app.changes import all_changes
from interlock.app.stores import expanded
from interlock.app.workspace import Workspace
from interlock.change.audit import hash_of, verify
from interlock.change.checkpoints import (
    Key,
    checkpoint_in,
    checkpoint_text,
    opened,
    signed_note,
)
from interlock.change.names import mentions, pseudonyms_in
from interlock.change.proofs import Proven, proof_json
from interlock.change.tree import Tree
from interlock.define.digest import canonical
from interlock.define.refs import Ref
from interlock.errors import NotFound, Refused, Unusable
from interlock.ports import Checkpoint, Json, Named, RecordReader, Signer, Stored, Written

_MOST = 20  # places named one by one


@dataclass(frozen=True)
class Audited:
    """The audit of a record: how many writes, their root, and what does not add up.

    `backwards` writes claim to be older than one before them; `against` is how many
    checkpoints the past was held against.
    """

    size: int
    root: str
    objections: tuple[str, ...]
    backwards: int = 0
    against: int = 0
    origin: str = ""


def audit(workspace: Workspace, against: Sequence[str] = (), key: str = "") -> Audited:
    """Read the whole record and hold it against its leaves, its head and checkpoints.

    `against` are texts of checkpoints that were kept where the record's writers cannot
    reach: only they show a past that was cut off or written anew. They must be signed by
    this log's key, or by `key`. One that is not is refused, and that is recorded.
    """
    kept = [_checkpoint(workspace, text, key) for text in against]
    found = verify(workspace.record, kept)
    return Audited(
        found.now.size,
        found.now.root,
        found.objections,
        found.backwards,
        len(kept),
        workspace.record.origin(),
    )


def _checkpoint(workspace: Workspace, text: str, key: str) -> Checkpoint:
    plain = _unsigned(text.strip())
    if plain is not None:
        return plain
    from interlock.adapters.signing import verified

    try:
        signer = Key.parse(key) if key else _key_there_is(workspace)
        return checkpoint_in(opened(text, signer, verified), workspace.record.origin())
    except Refused as refused:
        # Somebody showed a checkpoint that is not ours: that is worth knowing later.
        shown = {"text": text[:2000]}
        refusals.keep(workspace, "checkpoint", refused.objections, by="audit", shown=shown)
        raise


def _unsigned(text: str) -> Checkpoint | None:
    """`SIZE:ROOT`: whoever kept it answers for it."""
    size, _, root = text.partition(":")
    if size.isdecimal() and len(root) == 64 and set(root) <= set("0123456789abcdef"):
        return Checkpoint(int(size), root)
    if "\n" not in text:
        raise Unusable(
            f"{text[:80]!r} is not a checkpoint",
            help="name a file with what `interlock audit checkpoint` printed, or write SIZE:ROOT",
        )
    return None


# --- signing ---


def signer_of(workspace: Workspace) -> Signer:
    """The key of the environment: the declared one, or one of the state folder's own."""
    from interlock.adapters.signing import Ed25519Signer

    declared = workspace.declared.signing_key
    if declared:
        return Ed25519Signer.parse(expanded(declared, "the signing key"), declared)
    return Ed25519Signer.kept_in(_kept_key(workspace))


def _kept_key(workspace: Workspace) -> Path:
    return workspace.state / "keys" / "signing.pem"


def _key_there_is(workspace: Workspace) -> Key:
    """The same, for who only looks: making a key now would prove nothing about then."""
    if workspace.declared.signing_key or _kept_key(workspace).exists():
        return log_key(workspace)
    raise Refused(
        "this checkpoint cannot be held against a key: none was ever made here",
        help="say --key with the public key that must have signed it",
        objections=["no key of this log is kept in the state folder"],
    )


def log_key(workspace: Workspace) -> Key:
    """The public key under the name of this log; raises `NotFound` before anything was signed."""
    if not workspace.declared.signing_key and not _kept_key(workspace).exists():
        raise NotFound(
            "nothing was signed here yet, so there is no key",
            help="`interlock audit checkpoint` signs for the first time and makes one; or declare"
            " signing_key in interlock.yaml",
        )
    return Key(workspace.record.origin(), signer_of(workspace).public)


def checkpoint(workspace: Workspace) -> str:
    """The head of the audit, signed: keep it where the record's writers cannot reach."""
    return _signed_head(workspace, workspace.record.head())


def _signed_head(workspace: Workspace, head: Checkpoint) -> str:
    signer, origin = signer_of(workspace), workspace.record.origin()
    return signed_note(checkpoint_text(origin, head), Key(origin, signer.public), signer.sign)


# --- proofs ---


@dataclass(frozen=True)
class Pinned:
    """Entries with their proofs, and the signed checkpoint that they lead to."""

    rows: tuple[Proven, ...]
    checkpoint: str
    names: tuple[Named, ...]
    key: Key


def pin(workspace: Workspace, wanted: Callable[[Json], bool]) -> Pinned:
    """Every write whose leaf is `wanted`, proven to be in the log; one pass over it."""
    record, tree, found = workspace.record, Tree(), []
    for row in _intact(record):
        assert row.leaf is not None
        tree.add(bytes.fromhex(row.leaf["leaf"]))
        if wanted(row.leaf):
            found.append(row)
    proven = tuple(_proven(row, tree) for row in found)
    people = {who for one in proven for who in _people(one)}
    names = tuple(named for named in record.names() if named.pseudonym in people)
    note = _signed_head(workspace, tree.checkpoint())
    return Pinned(proven, note, names, log_key(workspace))


def _intact(record: RecordReader) -> Iterator[Written]:
    """Leaves in order; a proof over leaves that do not hold would prove nothing."""
    for number, row in enumerate(record.written(), 1):
        if row.leaf is None:
            continue
        if row.leaf["seq"] != number or hash_of(row.leaf).hex() != row.leaf["leaf"]:
            raise Refused(
                f"nothing can be proven: audit leaf {number} is not what it was",
                help="`interlock audit verify` says what does not add up",
            )
        yield row


def _proven(row: Written, tree: Tree) -> Proven:
    leaf, entry = row.leaf, row.entry
    assert leaf is not None
    if entry is None:
        raise Refused(
            f"{leaf['ref']} version {leaf['version']} is gone from the record",
            help="`interlock audit verify` says what does not add up",
        )
    path = tree.inclusion(leaf["seq"] - 1, tree.size)
    return Proven(leaf, entry.body, tuple(node.hex() for node in path))


def _people(one: Proven) -> set[str]:
    return pseudonyms_in(one.body or "") | {one.leaf["by"], one.leaf["source"]}


def prove(workspace: Workspace, address: str, version: int | None = None) -> Json:
    """That an entry (its newest version, or `version`) is in the log: checked without us."""
    ref = Ref.parse(address)
    newest = workspace.record.get(ref)
    if newest is None or not 0 < (version or newest.version) <= newest.version:
        known = f"{ref} has {newest.version} versions" if newest else f"nothing is kept of {ref}"
        raise NotFound(known, help="write an address as `interlock status` shows it")
    asked = (str(ref), version or newest.version)
    pinned = pin(workspace, lambda leaf: (leaf["ref"], leaf["version"]) == asked)
    return proof_json(pinned.rows[0], pinned.checkpoint, pinned.names, pinned.key)


# --- forgetting ---


@dataclass(frozen=True)
class Erased:
    """Who stands where a name stood, and where the name itself still stands."""

    pseudonym: str
    left: tuple[str, ...]


def erase(workspace: Workspace, person: str, *, by: str) -> Erased:
    """Forget `person`: a pseudonym stands for the name wherever it was kept, and no way back.

    Refused while somebody waits for this person: an open change of theirs, or signed by
    them, would lose who is responsible for it.
    """
    busy = _open_changes(workspace, person)
    if busy:
        raise Refused(
            f"{person} cannot be erased yet",
            help="end or withdraw these changes first",
            objections=busy,
        )
    gone = workspace.record.forget(person, by=by, at=workspace.now())
    return Erased(gone, _left(workspace, person))


def _open_changes(workspace: Workspace, person: str) -> list[str]:
    said = []
    for change in all_changes(workspace):
        roles = {
            "is its author": change.author == person,
            "has signed it": any(s.person == person for s in change.signoffs),
            "has waived a check of it": any(w.by == person for w in change.waivers),
            # Its digest, which people sign, is over the names in it.
            "stands in its plan": mentions(canonical(change.plan).decode(), person),
        }
        mine = [role for role, held in roles.items() if held]
        if change.open and mine:
            said.append(f"{change.id} is {change.state}, and {person} {' and '.join(mine)}")
    return said


def _left(workspace: Workspace, person: str) -> tuple[str, ...]:
    """What the log holds in clear cannot be changed: it is named, so that nobody relies on it."""
    found = [
        f"{row.entry.ref} version {row.entry.version} names {person} in words of its own"
        for row in workspace.record.written()
        if row.entry and (row.entry.by == person or mentions(_words(row.entry), person))
    ]
    more = [f"and {len(found) - _MOST} more"] if len(found) > _MOST else []
    return (*found[:_MOST], *more, *_declared(workspace, person))


def _words(entry: Stored) -> str:
    return f"{entry.ref.partition(':')[2]} {entry.body}"


def _declared(workspace: Workspace, person: str) -> Iterator[str]:
    for owner in workspace.project.owners:
        if person in owner.people:
            yield f"interlock.yaml declares {person} in the team {owner.name}"
