"""Why one thing breaks, moves, is reached or stays untouched: paths, lines, and the way out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from interlock.define.refs import Ref
from interlock.define.schema import did_you_mean
from interlock.errors import NotFound
from interlock.impact.difference import Difference
from interlock.impact.facts import Facts
from interlock.impact.graph import Hop, Reached, Touch, above, causes, verdicts
from interlock.impact.lineage import lineage
from interlock.impact.nodes import owner_node
from interlock.plan.explain import difference_lines, weight_of
from interlock.plan.make import Side
from interlock.plan.plan import Plan
from interlock.plan.sources import Line, edited, uses

_FEW = 3
_PARTS = 50  # of a very wide table; each is a walk of its own
_WORST: tuple[Touch, ...] = ("breaks", "moves", "reached", "untouched")


@dataclass(frozen=True)
class Cause:
    """One start of the change, its way to the thing, and the lines on both ends of that way.

    `edited` are the lines that start it, `uses` those by which the first reader reads it;
    `also` are other readers of the start through which it comes too.
    """

    sentence: str
    verdict: Touch
    start: str
    path: tuple[Hop, ...]
    edited: tuple[Line, ...]
    uses: tuple[Line, ...]
    also: tuple[str, ...]
    otherwise: str

    def to_json(self) -> dict[str, Any]:
        return {
            "sentence": self.sentence, "verdict": self.verdict, "start": self.start,
            "path": [[hop.reader, hop.source, hop.kind] for hop in self.path],
            "edited": [line.to_json() for line in self.edited],
            "uses": [line.to_json() for line in self.uses], "also": list(self.also),
            "otherwise": self.otherwise,
        }  # fmt: skip


@dataclass(frozen=True)
class Why:
    """The answer for one address. `own` says what was edited of the thing itself.

    `stands_on` is asked only for what nothing reaches: a change of one of these would.
    """

    ref: str
    verdict: str
    own: tuple[str, ...]
    causes: tuple[Cause, ...]
    importance: tuple[str, ...]
    stands_on: tuple[str, ...]
    otherwise: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "ref": self.ref, "verdict": self.verdict, "own": list(self.own),
            "causes": [cause.to_json() for cause in self.causes],
            "importance": list(self.importance), "stands_on": list(self.stands_on),
            "otherwise": list(self.otherwise),
        }  # fmt: skip

    def text(self) -> str:
        """For people: the answer, then each path with its lines, then what would change it."""
        return "\n".join(_lines(self)) + "\n"


def why(plan: Plan, wanted: Side, stable: Side | None, text: str) -> Why:
    """What `plan` does to the address `text`, and why; `NotFound` for one that nobody declares."""
    ref, old = Ref.parse(text), stable.facts if stable else None
    parts = _parts(wanted.facts, old, ref)
    difference = next((d for d in plan.differences if str(d.ref) == owner_node(str(ref))), None)
    found = _causes(wanted, stable, parts)
    verdict = _verdict(difference, found, ref)
    touched = verdict != "untouched"
    stands = () if touched else _stands_on(wanted.facts, str(ref))
    heavy = [i for i in plan.importance if str(ref) in (str(i.model), str(i.feature))]
    return Why(
        str(ref), verdict,
        tuple(difference_lines(difference)) if difference else (),
        found,
        (weight_of(heavy),) if heavy else (),
        stands,
        tuple(dict.fromkeys(c.otherwise for c in found)) if touched else _untouched(plan, stands),
    )  # fmt: skip


def _parts(new: Facts, old: Facts | None, ref: Ref) -> list[str]:
    """`ref`, and its columns when it is a whole table or view."""
    known: dict[str, list[str]] = {}
    for facts in filter(None, (old, new)):
        for name, node in facts.nodes.items():
            columns = known.setdefault(name, [name])
            columns += [c for n in node.columns if (c := _column(node.ref, n)) not in columns]
    every = {part for parts in known.values() for part in parts}
    if str(ref) not in every:
        raise NotFound(f"{ref} is not declared", help=did_you_mean(str(ref), every))
    return known.get(str(ref), [str(ref)])


def _column(ref: Ref, name: str) -> str:
    if ref.kind == "view":
        return str(Ref("feature", ref.name, ref.version, name))
    return str(Ref("column", f"{ref.name}.{name}"))


def _verdict(difference: Difference | None, found: tuple[Cause, ...], ref: Ref) -> str:
    if difference is not None and difference.change != "changed" and not ref.part:
        return {"added": "new"}.get(difference.change, difference.change)
    return min((c.verdict for c in found), key=_WORST.index, default="untouched")


# --- causes --------------------------------------------------------------------------


def _causes(wanted: Side, stable: Side | None, parts: list[str]) -> tuple[Cause, ...]:
    """One for each start, by the worst and shortest of the ways from any of `parts`."""
    old = stable.facts if stable else None
    touched = verdicts(old, wanted.facts)
    asked = [part for part in parts if touched.get(part, "untouched") != "untouched"][:_PARTS]
    every = causes(old, wanted.facts, *asked)
    best: dict[str, Reached] = {}
    for one in every:
        best.setdefault(one.cause, one)
    under = {ref: above(str(ref), wanted.facts.edges) for ref in {r.ref for r in best.values()}}
    return tuple(_cause(wanted, stable, one, under[one.ref]) for one in best.values())


def _cause(wanted: Side, stable: Side | None, one: Reached, under: set[str]) -> Cause:
    old = stable.project if stable else None
    start = Ref.parse(one.cause)
    read: tuple[Line, ...] = ()
    if one.path:
        nearest = _first_reader(one.path)
        read = uses(wanted.project, Ref.parse(nearest.reader), Ref.parse(nearest.source))
    return Cause(
        one.sentence, one.verdict, one.cause, one.path,
        edited(old, wanted.project, start), read, _also(wanted.facts, one, under), _otherwise(one),
    )  # fmt: skip


def _also(facts: Facts, one: Reached, under: set[str]) -> tuple[str, ...]:
    """Other readers of the start, on other ways to the same thing; `under` is what it stands on."""
    if not one.path:
        return ()
    readers = {edge.reader for edge in facts.edges if edge.source == one.cause} & under
    own = {owner_node(one.cause), *(hop.reader for hop in one.path)}
    return tuple(
        sorted(name for name in readers if owner_node(name) not in own and name not in own)
    )


def _first_reader(path: tuple[Hop, ...]) -> Hop:
    """The hop nearest to the start that leaves the definition in which the change lies."""
    for hop in reversed(path):
        if owner_node(hop.reader) != owner_node(hop.source):
            return hop
    return path[-1]


def _otherwise(one: Reached) -> str:
    """What would have to be different for this cause not to count."""
    start, owner = one.cause, owner_node(one.cause)
    if one.verdict == "reached":
        return "nothing needs to: no value moves"
    if one.verdict == "breaks":
        if one.why == "removed" and start == owner:
            return f"keep {start}, or let its readers stop reading it in the same plan"
        keep = "keep it" if "longer declared" in one.why else "leave it as it is"
        return f"{start}: {keep}, add what is new beside it, or mend its readers in the same plan"
    if "not understood" in one.why:
        return f"write {owner} so that its SQL is understood; until then it counts as moved"
    if one.why == "new" or not one.path:
        return f"only leaving {owner} as it is"
    beside = f"declare a new version beside {owner}" if owner.startswith("view:") else (
        f"give {start} a new name beside the old"
    )  # fmt: skip
    return f"undo the edit of {start}, or {beside} and let readers move when they are ready"


# --- what nothing reaches --------------------------------------------------------------


def _stands_on(facts: Facts, name: str) -> tuple[str, ...]:
    """The tables and views it is made of, each with the columns it uses of them."""
    if name not in facts.nodes and owner_node(name) not in facts.nodes:
        return ()
    found = lineage(facts, name, "upstream")
    columns = [n for n in found.nodes if n.startswith(("column:", "feature:")) and n != name]
    grouped: dict[str, list[str]] = {}
    for column in sorted(columns):
        part = column.rpartition(":" if column.startswith("feature:") else ".")[2]
        grouped.setdefault(owner_node(column), []).append(part)
    return tuple(f"{owner}: {', '.join(parts)}" for owner, parts in grouped.items())


def _untouched(plan: Plan, stands_on: Iterable[str]) -> tuple[str, ...]:
    if plan.empty:
        return ("nothing is changed by this plan",)
    changed = ", ".join(str(d.ref) for d in plan.differences[:_FEW])
    more = f" and {len(plan.differences) - _FEW} more" if len(plan.differences) > _FEW else ""
    said = f"the plan changes {changed}{more}, and it reads nothing of that which moves"
    return (said, "it would be reached by a change of what it stands on") if stands_on else (said,)


# --- for people ------------------------------------------------------------------------


def _lines(found: Why) -> Iterator[str]:
    yield f"{found.ref}: {found.verdict}"
    if found.own:
        yield "\nedited itself:"
        yield from (f"  {line}" for line in found.own)
    for at, cause in enumerate(found.causes[:_FEW], 1):
        yield f"\n{at}. {cause.sentence}"
        yield from (f"     {_hop(hop)}" for hop in cause.path)
        if cause.also:
            more = f" and {len(cause.also) - _FEW} more" if len(cause.also) > _FEW else ""
            yield f"   also through {', '.join(cause.also[:_FEW])}{more}"
        yield from _block("edited", cause.edited)
        yield from _block("read in", cause.uses)
    if len(found.causes) > _FEW:
        yield f"\nand from {len(found.causes) - _FEW} more starts (--json tells all)"
    for title, lines in (
        ("importance", found.importance), ("stands on", found.stands_on),
        ("it would be otherwise", found.otherwise),
    ):  # fmt: skip
        if lines:
            yield f"\n{title}:"
            yield from (f"  {line}" for line in lines)


def _hop(hop: Hop) -> str:
    return f"{hop.reader} reads {hop.source} ({hop.kind})"


def _block(title: str, lines: tuple[Line, ...]) -> Iterator[str]:
    last = ""
    for line in lines:
        if line.file != last:
            yield f"   {title} {line.file}:"
            last = line.file
        yield f"     {line.number:>4} {line.mark or ' '} {line.text}"
