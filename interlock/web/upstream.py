"""What upstream decided, from the headers of a request, and a moment to catch up with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from interlock.app.serving import Gateway
from interlock.client.asgi import CATCH_UP, LOOK
from interlock.client.elapsed import elapsed
from interlock.client.follow import FRUITLESS
from interlock.serve.carried import BAGGAGE, HEADER, Carried, carried

Headers = Iterable[tuple[bytes, bytes]]
_HEADER, _BAGGAGE = HEADER.encode(), BAGGAGE.encode()
_CARRIES = frozenset((_HEADER, _BAGGAGE))


def upstream_of(headers: Headers) -> Carried | None:
    """None when nothing was carried; an unreadable release is one that nobody knows."""
    said = [(k, v.decode("latin-1")) for k, v in headers if k in _CARRIES]
    if not said:
        return None
    return carried([v for k, v in said if k == _HEADER], [v for k, v in said if k == _BAGGAGE])


class Upstream:
    """Lets a gateway that lags behind its callers see the Route that they have seen."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._waited = float("-inf")

    async def reach(self, said: Carried) -> None:
        """Wait, a moment at most, while upstream names a release of an epoch yet to come.

        A forged epoch costs one request a second that moment, and nobody else anything.
        """
        if not self.lacks(said) or elapsed() - self._waited < FRUITLESS:
            return
        self._waited = elapsed()
        for _ in range(int(CATCH_UP / LOOK)):
            await asyncio.sleep(LOOK)
            if not self.lacks(said):
                self._waited = float("-inf")
                return

    def lacks(self, said: Carried) -> bool:
        live = self._gateway.releases.live
        return live is not None and said.epoch > live.epoch and said.release not in live.known
