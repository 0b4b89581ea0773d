"""Names are hidden where people stand, put back when read, and gone once forgotten."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from interlock.change.names import (
    hidden,
    is_name,
    mentions,
    new_name,
    people_in,
    pseudonym,
    pseudonyms_in,
    shown,
    true,
    unknown,
)
from interlock.define.digest import canonical
from interlock.ports import Named

SALT = b"s" * 32
NAMES = ["dana", "dana lee", "wei", "zo\u00eb", 'O"Hara', "back\\slash", "ann.b@x.org"]
KNOWN = {name: pseudonym(name, SALT) for name in NAMES}
BACK = {value: name for name, value in KNOWN.items()}


def _hide(body: Any) -> Any:
    return json.loads(hidden(body, KNOWN, canonical(body).decode()))


words = st.one_of(
    st.sampled_from(NAMES),
    st.text(max_size=8),
    st.sampled_from(["danas", "x-wei", "wei.", "(wei)"]),
)
sentences = st.lists(words, max_size=5).map(" ".join)
keys = st.sampled_from(["by", "author", "person", "people", "model", "wei", "said"])
bodies = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), words, sentences),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.dictionaries(keys, bodies, max_size=4))
def test_what_was_hidden_is_read_as_it_was_written(body: dict[str, Any]) -> None:
    stored = canonical(_hide(body)).decode()
    assert json.loads(shown(stored, BACK)) == body
    assert pseudonyms_in(stored) <= BACK.keys()


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.dictionaries(keys, bodies, max_size=4))
@example({"by": "dana", "said": '"by":"dana"'})
@example({"author": "dana", "by": "dana lee"})
@example({"by": "wei", "people": "wei", "wei": 1})
def test_names_put_into_the_text_are_those_that_a_walk_finds(body: dict[str, Any]) -> None:
    text = canonical(body).decode()
    # A second key that nothing hides makes it walk; where it stands in the text is known.
    walked = hidden({**body, "~": sorted(KNOWN)}, KNOWN, f"{text} {canonical(sorted(KNOWN))!r}")
    kept = {key: value for key, value in json.loads(walked).items() if key != "~"}
    assert json.loads(hidden(body, KNOWN, text)) == kept
    assert canonical(kept).decode() == hidden(body, KNOWN, text)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.dictionaries(keys, bodies, max_size=4))
def test_nobody_stays_by_name_under_a_key_for_people(body: dict[str, Any]) -> None:
    assert set(people_in(_hide(body))) & KNOWN.keys() == set()


@pytest.mark.parametrize(
    ("text", "hides"),
    [
        ("started by dana", True),
        ("dana, wei: both", True),
        ("dana's change", True),
        ("(dana) signed", True),
        ("danas change", False),
        ("x-dana signed", False),
        ("see dana@x.org please", False),
        ("dana", False),
    ],
)
def test_sentences_hide_whole_words_and_addresses_are_left_alone(text: str, hides: bool) -> None:
    assert ("anon-" in _hide({"said": text})["said"]) is hides


def test_the_longer_name_wins() -> None:
    assert _hide({"said": "for dana lee only"})["said"] == f"for {KNOWN['dana lee']} only"


def test_who_is_forgotten_keeps_one_pseudonym() -> None:
    stored = canonical(_hide({"by": "dana", "said": "dana and wei"})).decode()
    left = {KNOWN["wei"]: "wei"}
    assert json.loads(shown(stored, left)) == {
        "by": KNOWN["dana"],
        "said": f"{KNOWN['dana']} and wei",
    }


def test_a_pseudonym_says_nothing_without_its_salt_and_everything_with_it() -> None:
    one, other = new_name("dana", SALT), new_name("dana", b"t" * 32)
    assert one.pseudonym != other.pseudonym
    assert true(one)
    assert not true(Named(one.pseudonym, "wei", one.salt))
    assert not true(Named(one.pseudonym, "dana", other.salt))


def test_nobody_is_named_like_a_pseudonym_or_not_at_all() -> None:
    assert not is_name("")
    assert not is_name(KNOWN["dana"])
    assert unknown(["wei", "new", "", "new", KNOWN["wei"]], KNOWN) == ["new"]


def test_a_name_that_is_left_somewhere_is_found() -> None:
    assert mentions('{"x":"wei"}', "wei")
    assert not mentions('{"x":"weir"}', "wei")
    assert mentions(canonical({"x": 'O"Hara'}).decode(), 'O"Hara')
