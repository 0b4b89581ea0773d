"""The Route a decision asks for: one value, so that one compare-and-swap moves every service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from interlock.define.release import Arm, Route
from interlock.errors import Refused
from interlock.rollout.machine import Abort, Advance, Decision, RouteMove


def route_after(route: Route, decision: Decision) -> Route:
    """The new Route (epoch one higher), or `route` itself when nothing is routed."""
    match decision:
        case Abort():
            return _back(route, decision)
        case Advance(route=RouteMove() as move):
            return _forward(route, move)
        case _:
            return route


def together(route: Route, experiment: str, places: Sequence[RouteMove | None]) -> Route:
    """The Route of a stage that the changes of `experiment` begin in the same moment.

    One entry per place, None where nobody is; whoever was given up stays so. Raises `Refused`
    with everything that stands against it, and gives `route` nothing of it then.
    """
    moves = [one for one in places if one is not None]
    if said := [*_alike(moves), *_on_its_way(route, experiment, places)]:
        raise Refused(
            f"the changes of {experiment} cannot begin their stage together", objections=said,
            help="look again; what went back, or is somebody else's, cannot be routed",
        )  # fmt: skip
    arms = tuple(Arm(one.release, one.change) if one else None for one in places)
    return replace(
        route, epoch=route.epoch + 1, candidate=None, arms=arms, weight=moves[0].weight,
        mirror=True, salt=experiment, change=experiment, stage=moves[0].stage,
        filter=moves[0].filter,
    )  # fmt: skip


def _alike(moves: Sequence[RouteMove]) -> list[str]:
    """Objections to moves that are not one stage for everybody."""
    stages = {(one.stage, one.weight, one.filter) for one in moves}
    releases, changes = {one.release for one in moves}, {one.change for one in moves}
    told = {
        "nobody is left in it": bool(moves),
        "they are not at one stage": len(stages) <= 1,
        "one alone is committed, not several": not any(one.commit for one in moves),
        "two of them are one release or one change": len(moves) == len(releases) == len(changes),
    }
    return [flaw for flaw, well in told.items() if not well]


def _on_its_way(route: Route, experiment: str, places: Sequence[RouteMove | None]) -> list[str]:
    """Objections of what stands on the Route already."""
    found = [
        f"release {one.release[:12]} was rolled back and is blocked"
        for one in places
        if one is not None and one.release in route.blocked
    ]
    if route.candidate is not None or route.change not in (None, experiment):
        return [*found, f"{route.change} is being rolled out in {route.environment}"]
    held = tuple(one and one.release for one in route.arms)
    if route.arms and tuple(one and one.release for one in places) != held:
        found.append("the places are not held by those that hold them on the Route")
    return found


def given_up(route: Route, blocked: Sequence[str] = (), unblocked: Sequence[str] = ()) -> Route:
    """The Route without these releases; nobody else moves. `blocked` may never come back.

    Their subjects are answered by stable, outside of the experiment: the control stays what it
    was. With the last arm the experiment ends. The same value where none of it is news.
    """
    known = tuple(dict.fromkeys((*route.blocked, *blocked)))
    gone = {*blocked, *unblocked}
    arms = tuple(None if one is None or one.release in gone else one for one in route.arms)
    if route.candidate in gone or (route.arms and not any(arms)):
        return _idle(route, route.stable, known)
    if (arms, known) == (route.arms, route.blocked):
        return route
    return replace(route, epoch=route.epoch + 1, arms=arms, blocked=known)


def alone(route: Route, move: RouteMove) -> Route:
    """The Route on which one arm goes on as a lone candidate; the others end, unblocked.

    Raises `Refused` when it holds no place. A commit makes it the stable release.
    """
    if move.release not in [one.release for one in route.candidates] or not route.arms:
        raise Refused(
            f"release {move.release[:12]} holds no place in {route.change or route.environment}",
            help="only a candidate that was compared with the others can be chosen",
        )
    chosen = replace(route, arms=(), candidate=move.release, change=move.change)
    return _forward(chosen, move)


def _forward(route: Route, move: RouteMove) -> Route:
    _refuse(route, move)
    if move.commit:
        return _idle(route, move.release, route.blocked)
    return replace(
        route, epoch=route.epoch + 1, candidate=move.release, weight=move.weight, mirror=True,
        # A salt per change: the same subjects are not first in line every time.
        salt=move.change, change=move.change, stage=move.stage, filter=move.filter,
    )  # fmt: skip


def _refuse(route: Route, move: RouteMove) -> None:
    short = move.release[:12]
    if move.release in route.blocked:
        raise Refused(
            f"release {short} was rolled back and is blocked",
            help="change what harmed; the same release cannot come back",
        )
    others = route.arms or route.candidate not in (None, move.release)
    if others or route.change not in (None, move.change):
        raise Refused(
            f"{route.change} is being rolled out in {route.environment}",
            help="wait until it has ended, or roll it back",
        )
    if move.commit and route.candidate != (move.release if move.compared else None):
        raise Refused(
            f"release {short} is not the candidate of {route.environment}",
            help="only what was rolled out can be committed",
        )


def _back(route: Route, abort: Abort) -> Route:
    if route.arms:
        out = given_up(route, [abort.blocked])
        return out if out != route else replace(route, epoch=route.epoch + 1)
    blocked = tuple(dict.fromkeys((*route.blocked, abort.blocked)))
    mine = route.candidate in (None, abort.blocked)
    if not mine:
        # Somebody else's rollout is on the route: take nothing of theirs back.
        return replace(route, epoch=route.epoch + 1, blocked=blocked)
    stable = abort.stable if route.stable == abort.blocked else route.stable
    return _idle(route, stable, blocked)


def _idle(route: Route, stable: str | None, blocked: tuple[str, ...]) -> Route:
    return replace(
        route, epoch=route.epoch + 1, stable=stable, candidate=None, weight=0.0, mirror=False,
        salt="", change=None, stage=None, blocked=blocked, filter=(), arms=(),
    )  # fmt: skip
