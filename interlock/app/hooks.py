"""Asks systems outside whether a rollout may go on. Never about a way back.

The machine decides first: only who is about to move is asked about, and what was answered
enters as a fact. So a hook can hold a rollout and cannot move one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from interlock.app.stores import expanded
from interlock.app.versions import stable, stored
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.define.digest import digest
from interlock.define.environment import Environment
from interlock.define.notifications import COMMIT, Hook
from interlock.errors import InterlockError

_LONGEST_REASON = 200
_AT_ONCE = 16


def objections(workspace: Workspace, moving: Sequence[tuple[Change, str]]) -> Mapping[str, str]:
    """By change, why it may not begin the stage, or `commit`, that is named with it.

    Every hook is asked, so that everything is said at once; and all of them at the same time, so
    that several candidates wait no longer than one.
    """
    asks = [
        (change, hook, before)
        for change, before in moving
        if before
        for hook in hooks_before(workspace, change, before)
    ]
    said: dict[str, list[str]] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        told = pool.map(lambda one: _asked(*one), asks)
    for (change, _, _), why in zip(asks, told, strict=True):
        if why:
            said.setdefault(change.id, []).append(why)
    return {id: "; ".join(every) for id, every in said.items()}


def hooks_before(workspace: Workspace, change: Change, before: str) -> Sequence[Hook]:
    """Hooks of the release that runs and of the change: none is removed by what it would hold.

    One that names a stage this rollout does not have is asked before each: it was meant to be.
    """
    new = stored(workspace, change.release).project.environments[workspace.environment]
    runs = stable(workspace)
    old = runs.project.environments.get(workspace.environment) if runs else None
    return chosen(new, old, before)


def chosen(new: Environment, old: Environment | None, before: str) -> tuple[Hook, ...]:
    """Of the hooks of both environments, those that are asked before `before`."""
    here = {*(stage.name for stage in new.walked), COMMIT}
    every = dict.fromkeys((*(old.hooks if old else ()), *new.hooks))
    return tuple(hook for hook in every if hook.before == before or hook.before not in here)


def _asked(change: Change, hook: Hook, before: str) -> str:
    from interlock.adapters.webhooks import Webhook

    name = f"the hook {_where(hook.url)} before {before}"
    body = {"before": before, "environment": change.environment, "change": change.to_json()}
    # The same question has the same id, however often it is asked.
    id = f"msg_{digest([change.id, change.plan_digest, before, hook.url])[:24]}"
    try:
        url, secrets = expanded(hook.url, name), [expanded(one, name) for one in hook.secrets]
        status, told = Webhook(name, url, secrets, hook.timeout.total_seconds()).post(id, body)
    except InterlockError as error:
        return error.message
    if status == 200:
        return ""
    why = " ".join(str(told.get("reason", "")).split())[:_LONGEST_REASON]
    return f"{name} answered {status}" + (f": {why}" if why else "")


def _where(url: str) -> str:
    """The host, or the variable that holds the address: what comes after may be secret."""
    return urlsplit(url).hostname or url.partition("}")[0] + "}"
