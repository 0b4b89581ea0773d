"""The body of a request, bounded in bytes and in seconds."""

from __future__ import annotations

import asyncio

from starlette.types import Receive

from interlock.web.predictions import Slow, TooLarge


async def read_body(receive: Receive, largest: int, slowest: float) -> bytes | None:
    """The whole body; None when the caller left before all of it had come.

    Raises `TooLarge` over `largest` bytes, `Slow` after `slowest` seconds.
    """
    try:
        async with asyncio.timeout(slowest):
            return await _whole(receive, largest)
    except TimeoutError as error:
        raise Slow(f"the body did not come within {slowest:.0f} s") from error


async def _whole(receive: Receive, largest: int) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > largest:
            raise TooLarge(f"the body is larger than {largest} bytes")
        if not message.get("more_body", False):
            return b"".join([*parts, part]) if parts else part
        parts.append(part)
