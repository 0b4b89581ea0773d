"""A plan as the comment of a pull request: Markdown, one marker line, never too long to post.

A bot finds its earlier comment by the marker and writes over it, so that a pull request
holds one comment per project and environment however often it is planned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from interlock.define.refs import Ref
from interlock.impact.graph import GraphData, Reached
from interlock.plan.explain import difference_lines, explain, weight_of
from interlock.plan.plan import Plan, Required

if TYPE_CHECKING:
    from interlock.impact.picture import GraphNode

LONGEST = 60_000  # characters; hosts of pull requests refuse a little over 65,000
_ROWS = 20
_NODES = 60  # a picture with more is read by nobody
_STYLES = (
    "  classDef breaks stroke:#c62828,stroke-width:3px",
    "  classDef moves stroke:#ef8f00,stroke-width:2px",
    "  classDef reached stroke-dasharray:4",
)
_WORST = ("breaks", "moves", "reached")


def marker(plan: Plan) -> str:
    """The first line: the same for every plan of this project and environment."""
    return f"<!-- interlock plan {_plain(plan.project)} {_plain(plan.environment)} -->"


def comment(plan: Plan, graph: GraphData | None = None) -> str:
    """The whole comment; with `graph`, a Mermaid picture of what is touched."""
    parts = [marker(plan), f"### Interlock: {_headline(plan)}", ""]
    parts += _blocked(plan.objections)
    if not plan.empty:
        parts += [*_table(plan), *_signers(plan.requirements)]
        parts += _details("What was edited", _edited(plan))
        parts += _details("Evidence needed", [f"- {_code(check)}" for check in plan.evidence])
        parts += _details("Importance for the models", _importance(plan))
        parts += _picture(graph) if graph else []
    parts += _details("Notes", [f"- {_text(note)}" for note in plan.notes])
    if not plan.empty:
        parts += _details("The whole plan", ["```text", _fenced(explain(plan)), "```"])
        parts += [f"plan `{plan.digest[:12]}` {_against(plan)}"]
    return _fit("\n".join(parts).rstrip() + "\n", plan)


def _headline(plan: Plan) -> str:
    if plan.empty:
        return f"nothing to do in {_text(plan.environment)}"
    counts = [
        (len(plan.differences), "edited"), (len(plan.indirect), "changed with them"),
        (len(plan.merely_reached), "only reached"),
    ]  # fmt: skip
    said = ", ".join(f"{n} {what}" for n, what in counts if n)
    breaks = sum(one.verdict == "breaks" for one in plan.reached)
    broken = f", **{breaks} {'breaks' if breaks == 1 else 'break'}**" if breaks else ""
    return f"{said}{broken} in {_text(plan.environment)}"


def _blocked(objections: Sequence[str]) -> list[str]:
    if not objections:
        return []
    shown = [f"> - {_text(said)}" for said in objections[:_ROWS]]
    return [
        "> [!CAUTION]",
        "> This plan cannot be proposed:",
        *shown,
        *_more(objections, "> - "),
        "",
    ]


def _more(found: Sequence[object], before: str = "") -> list[str]:
    return [f"{before}and {len(found) - _ROWS} more"] if len(found) > _ROWS else []


def _table(plan: Plan) -> list[str]:
    """Models and services first, then features: worst first in each."""
    through = set(plan.indirect) | set(plan.merely_reached)
    shown = sorted((one for one in plan.reached if one.ref in through), key=_rank)
    if not shown:
        return []
    rows = [f"| {_code(one.ref)} | {one.verdict} | {_because(one)} |" for one in shown[:_ROWS]]
    return ["| what | verdict | why |", "|---|---|---|", *rows, *_more(shown, "\n"), ""]


def _rank(one: Reached) -> tuple[int, int, str]:
    kind = ("service", "model", "feature").index(one.ref.kind)
    return (_WORST.index(one.verdict), kind, str(one.ref))


def _because(one: Reached) -> str:
    return _text(one.sentence.partition(f"{one.verdict} ")[2].removeprefix("because "))


def _signers(required: Sequence[Required]) -> list[str]:
    lines = [
        f"- [ ] {_text(r.role)} of {_text(r.team)} ({_text(' or '.join(r.people))}): {_text(r.why)}"
        for r in required
    ]
    return _details("Must sign", lines, open=True)


def _edited(plan: Plan) -> list[str]:
    lines = [line for d in plan.differences[:_ROWS] for line in difference_lines(d)]
    return ["```text", *map(_fenced, lines), *_more(plan.differences), "```"] if lines else []


def _importance(plan: Plan) -> list[str]:
    models: dict[Ref, list[int]] = {}
    for at, found in enumerate(plan.importance):
        models.setdefault(found.model, []).append(at)
    weights = ([plan.importance[at] for at in places] for places in models.values())
    return [f"- {_text(weight_of(found))}" for found in weights]


def _picture(graph: GraphData) -> list[str]:
    """What is touched, and the lines between; without what stays as it is."""
    nodes = tuple(node for node in graph.nodes if _shown(node))
    if not nodes or len(nodes) > _NODES:
        return []
    kept = {i for node in nodes for i in (node.id, *(c.id for c in node.columns))}
    edges = tuple(e for e in graph.edges if {e.source, e.target} <= kept)
    drawn = _fenced(GraphData(nodes, edges).mermaid())
    return _details("Impact", ["```mermaid", drawn, *_STYLES, "```"])


def _shown(node: GraphNode) -> bool:
    return node.state != "untouched" or bool(node.change)


def _details(title: str, lines: Iterable[str], open: bool = False) -> list[str]:
    """A part that folds away. The empty lines make hosts read the inside as Markdown."""
    found = list(lines)
    if not found:
        return []
    start = f"<details{' open' if open else ''}><summary>{title} ({_size(found)})</summary>"
    return [start.replace(" ()", ""), "", *found, "", "</details>", ""]


def _size(lines: Sequence[str]) -> str:
    return str(len(lines)) if lines[0].startswith("- ") else ""


def _against(plan: Plan) -> str:
    if plan.made_against is None:
        return "is the first release"
    after = f", which {_text(plan.after)} leads to" if plan.after else ""
    after += f", beside {_text(plan.beside)}" if plan.beside else ""
    return f"against release `{plan.made_against[:12]}`{after}"


def _fit(text: str, plan: Plan) -> str:
    """Never longer than can be posted; the table and what blocks stand first."""
    if len(text) <= LONGEST:
        return text
    head = "\n".join(_shorter(text.splitlines()))
    return (
        f"{head}\n\nThe rest is too long for a comment: `interlock plan -e {plan.environment}`.\n"
    )


def _shorter(lines: Iterable[str]) -> Iterator[str]:
    """Lines until it is enough, with every fence and fold closed again."""
    left, fence, folds = LONGEST - 300, False, 0
    for line in lines:
        left -= len(line) + 1
        if left < 0:
            break
        fence ^= line.startswith("```")
        folds += line.startswith("<details")
        folds -= line == "</details>"
        yield line
    yield from ["```"] if fence else []
    yield from ["", "</details>"] * folds


def _text(said: object) -> str:
    """Words of other people as words: no table cell, no tag, no mention of somebody."""
    plain = " ".join(str(said).split())
    plain = re.sub(r"([\\`*_\[\]|~])", r"\\\1", plain)
    return (
        plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")
    )


def _code(ref: object) -> str:
    return f"`{str(ref).replace('`', '').replace('|', '')}`"


def _fenced(text: str) -> str:
    """Inside a fence only its end must not occur."""
    return text.replace("```", "'''").rstrip()


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)
