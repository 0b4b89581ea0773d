"""Digests are addresses: what was written years ago must be found under the same one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.define.digest import canonical, digest, digest_bytes

VALUES = [
    None, True, 0, -1, 1.0, 1e300, 0.1, 10**30, "", "é\u2028\ud7ff😀", 'a"\\\n\x00', [], {},
    ["names", "duckdb", "SELECT 1"], {"b": [1, {"d": None, "c": ()}], "a": "ü", "Z": 2.50},
    {2: "two", 10: "ten"},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_text_is_json_with_sorted_keys_and_nothing_between(value: object) -> None:
    said = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    assert canonical(value) == said.encode()
    assert digest(value) == digest_bytes(said.encode())


def test_what_was_said_before_is_said_today() -> None:
    assert digest({"b": [1, 2.5, None], "a": "é"}) == (
        "d764fee2563da33e3d57334755404e635da33c995824b0adfabc4b6e1af4f608"
    )


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": object()}])
def test_what_has_no_one_text_is_refused(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        digest(value)
    assert digest([]) == digest(()), "and the next value is not harmed"


def test_what_holds_itself_is_refused() -> None:
    ring: list[object] = []
    ring.append(ring)
    with pytest.raises(RecursionError):
        digest(ring)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    max_leaves=12,
)


@settings(derandomize=True, max_examples=300)
@given(JSONS)
def test_canonical_json_is_what_the_library_writes(value: object) -> None:
    """To the byte, and the same no: digests of years ago are compared with those of today."""

    def library() -> bytes:
        text = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        return text.encode()

    try:
        told = library()
    except (ValueError, TypeError) as error:
        with pytest.raises(type(error)):
            canonical(value)
        return
    assert canonical(value) == told
