"""Whether a gateway should be asked: every reason why not, found out at the moment of asking."""

from __future__ import annotations

from interlock.app.releases import Releases
from interlock.app.stores import standing_of
from interlock.errors import InterlockError
from interlock.ports import OnlineStore, PredictionLog


def objections(releases: Releases, store: OnlineStore, log: PredictionLog) -> list[str]:
    """Why answers from here could not be trusted or remembered; empty when they can.

    A lost lease is no reason: without it the stable release answers, everywhere alike.
    """
    return [*_of_the_route(releases), *_of_the_store(releases, store), *_of_the_log(log)]


def _of_the_route(releases: Releases) -> list[str]:
    live = releases.live
    if live is None:
        why = releases.record_error or releases.stable_error
        return [f"no release is loaded: {why}"]
    return list(live.stable.problems.values())


def _of_the_store(releases: Releases, store: OnlineStore) -> list[str]:
    stores = standing_of(store)
    if stores:
        away = [f"online store {one['store']}: {one['error']}" for one in stores]
        return [] if any(one["healthy"] for one in stores) else away
    models = releases.live.stable.spec.models.values() if releases.live else ()
    view = next((lookup.fingerprint for model in models for lookup in model.lookups), None)
    try:
        if view is not None:
            store.read([(view, "")])
    except InterlockError as error:
        return [f"the online store cannot be read: {error.message}"]
    return []


def _of_the_log(log: PredictionLog) -> list[str]:
    try:
        log.check()
    except InterlockError as error:
        return [error.message]
    return []
