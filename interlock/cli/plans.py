"""What `plan` shows: the plan, the comment for a pull request, or the answer to one why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.app.answers import plan_json
from interlock.cli.page import outline
from interlock.errors import Unusable
from interlock.plan.comment import comment, marker
from interlock.plan.explain import explain

if TYPE_CHECKING:
    from interlock.app.planning import Look

NOTHING, SOMETHING, REFUSED = 0, 2, 3
Shown = tuple[Any, bool, Callable[[Any], str], Callable[[Any], Any]]


@dataclass(frozen=True)
class Asked:
    """How the plan is to be shown: `explain` is an address, empty when none was given."""

    comment: bool = False
    graph: bool = False
    explain: str = ""


def shown(look: Look, asked: Asked, as_json: bool) -> Shown:
    """What to hand to `show`."""
    refuse_two(asked)
    if asked.explain:
        return look.why(asked.explain), as_json, lambda w: outline(w.text()), lambda w: w.to_json()
    if asked.comment:
        text = comment(look.plan, look.graph() if asked.graph else None)
        return text, as_json, str, lambda said: {"marker": marker(look.plan), "body": said}
    return look.plan, as_json, lambda made: outline(explain(made)), plan_json


def refuse_two(asked: Asked) -> None:
    """Raises `Unusable` when two different things are asked for at once."""
    if asked.comment and asked.explain:
        raise Unusable("two answers at once", help="ask once with --comment, once with --explain")
    if asked.graph and not asked.comment:
        raise Unusable(
            "--graph goes with --comment", help="`interlock lineage --mermaid` draws too"
        )


def exit_code(look: Look, asked: Asked) -> int:
    """0 nothing to do, 2 something to do, 3 when it could not be proposed; a why is answered: 0."""
    if asked.explain:
        return NOTHING
    return code_of(look.plan.empty, look.plan.objections)


def code_of(empty: bool, objections: Sequence[str]) -> int:
    """What a plan says to a script."""
    if objections:
        return REFUSED
    return NOTHING if empty else SOMETHING
