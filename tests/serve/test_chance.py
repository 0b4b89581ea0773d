"""Ids are made of bytes that nobody else was given: not the next request, not a forked process."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from interlock.app.chance import Chance


def test_no_bytes_are_given_out_twice() -> None:
    one = Chance()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: one.take(12), range(4000)))
    assert {len(said) for said in found} == {12}
    assert len(set(found)) == len(found)


def test_a_forked_process_has_bytes_of_its_own() -> None:
    one = Chance()
    one.take(8)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, one.take(8))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 8)
    os.close(reading)
    os.close(writing)
    assert len(theirs) == 8
    assert theirs != one.take(8)
