"""The Route a decision asks for: one value, so that one compare-and-swap moves every service."""

from __future__ import annotations

from dataclasses import replace

from interlock.define.release import Route
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
    if route.candidate not in (None, move.release) or route.change not in (None, move.change):
        raise Refused(
            f"{route.change} is being rolled out in {route.environment}",
            help="wait until it has ended, or roll it back",
        )
    if move.commit and route.candidate != move.release:
        raise Refused(
            f"release {short} is not the candidate of {route.environment}",
            help="only what was rolled out can be committed",
        )


def _back(route: Route, abort: Abort) -> Route:
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
        salt="", change=None, stage=None, blocked=blocked, filter=(),
    )  # fmt: skip
