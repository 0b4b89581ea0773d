"""Which release a subject sees: the same answer in every process, language and engine.

Light on purpose: the request path imports this module.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from interlock.define.release import Route

BITS = 52  # every 52-bit integer is exact in a float, so `weight * 2**52` loses nothing


def cohort(salt: str, subject: str) -> int:
    """The first 52 bits of SHA-256 of `salt:subject`."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{subject}".encode()).digest()[:7], "big") >> 4


def arm(route: Route, subject: str) -> Literal["stable", "candidate"]:
    """A larger weight only ever adds subjects to the candidate; nobody goes back and forth."""
    if route.candidate is None or cohort(route.salt, subject) >= route.weight * 2**BITS:
        return "stable"
    return "candidate"


def cohort_sql(salt: str, subject: str) -> str:
    """`cohort` as SQL over the expression `subject`, for releases that score in batch."""
    quoted = salt.replace("'", "''")
    return f"CAST('0x' || substr(sha256('{quoted}:' || {subject}), 1, 13) AS BIGINT)"
