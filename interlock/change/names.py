"""Who somebody was, kept apart from what they did, so that it can be forgotten.

What is stored and hashed holds a pseudonym: the salted hash of a name. Name and salt stand
in one place beside it and are put back when something is read. Once they are gone, nobody
can go back from the pseudonym to the name, not even by trying names out, and every hash
over the pseudonym still holds.

Names are hidden under keys that hold people, and as whole words in sentences (text with a
space in it). Anything else stays: an address is no person.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache, partial
from json.encoder import encode_basestring
from typing import Any

from interlock.define.digest import canonical
from interlock.errors import NotFound
from interlock.ports import Named

PEOPLE = frozenset(
    {"approved_by", "author", "by", "cleared_approvers", "delegate", "on_behalf_of", "people",
     "person"}
)  # fmt: skip
"""Keys of a body whose text, or list of texts, are names."""
_ALONE = re.compile(rf'"(?:{"|".join(sorted(PEOPLE))})":"((?:[^"\\]|\\.)*)"')
SALT_BYTES = 32
_SIZE = 32
_PSEUDONYM = re.compile(rf"anon-[0-9a-f]{{{_SIZE}}}")


def new_name(name: str, salt: bytes) -> Named:
    """`name` with its pseudonym under a fresh salt."""
    return Named(pseudonym(name, salt), name, salt.hex())


def nobody(name: str) -> NotFound:
    """The answer to who asks for a name that the record does not know."""
    return NotFound(
        f"nobody named {name!r} has written anything here, or was erased already",
        help="write the name as `interlock status` shows it",
    )


def true(named: Named) -> bool:
    """Does the pseudonym stand for exactly this name?"""
    return pseudonym(named.name, bytes.fromhex(named.salt)) == named.pseudonym


def pseudonym(name: str, salt: bytes) -> str:
    """What stands for `name`: a commitment that says nothing without its salt."""
    return f"anon-{hmac.digest(salt, name.encode(), hashlib.sha256).hex()[:_SIZE]}"


def people_in(body: Any) -> Iterator[str]:
    """Every name that stands under a key for people."""
    waiting = [body]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for key, value in one.items():
                if key in PEOPLE:
                    yield from _names(value)
                if isinstance(value, (dict, list)):
                    waiting.append(value)
        elif isinstance(one, list):
            waiting += one


def _names(value: Any) -> Iterator[str]:
    many = value if isinstance(value, list) else [value]
    return (name for name in many if isinstance(name, str) and is_name(name))


def is_name(text: str) -> bool:
    """Nothing, and what is a pseudonym already, is nobody's name."""
    return bool(text) and not _PSEUDONYM.fullmatch(text)


def hidden(body: Any, known: Mapping[str, str], text: str) -> str:
    """The canonical JSON of `body` with pseudonyms for the names in `known`; `text` is it as yet.

    Where names stand nowhere but alone under keys for people, they are put into the text: an
    unescaped quote, key and colon are no part of any string.
    """
    there = {name: known[name] for name in known if _quoted(name) in text}
    if not there:
        return text
    alone = _ALONE.findall(text)
    if any(text.count(_quoted(name)) != alone.count(_quoted(name)) for name in there):
        return canonical(_walked(body, there, partial(_words, there))).decode()
    for name, anonym in there.items():
        text = text.replace(f'"{_quoted(name)}"', f'"{anonym}"')
    return text


def _walked(value: Any, known: Mapping[str, str], words: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return words(value) if " " in value else value
    if isinstance(value, list):
        return [_walked(item, known, words) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _people(item, known, words) if key in PEOPLE else _walked(item, known, words)
        for key, item in value.items()
    }


def _people(value: Any, known: Mapping[str, str], words: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return known[value] if value in known else _walked(value, known, words)
    if isinstance(value, list):
        return [_people(item, known, words) for item in value]
    return _walked(value, known, words)


def _words(known: Mapping[str, str], text: str) -> str:
    """`text` with pseudonyms for names that stand in it as whole words."""
    return _any_of(tuple(known)).sub(lambda found: known[found[0]], text)


@lru_cache(maxsize=256)
def _any_of(names: tuple[str, ...]) -> re.Pattern[str]:
    """Any of `names` as a whole word; the longest first, so that none is cut."""
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![\w@.-])(?:{either})(?![\w@-])")


def mentions(text: str, name: str) -> bool:
    """Does the JSON `text` hold `name` as a whole word?"""
    return bool(re.search(rf"(?<![\w@.-]){re.escape(_quoted(name))}(?![\w@-])", text))


def pseudonyms_in(text: str) -> set[str]:
    """Every pseudonym that stands in `text`."""
    return set(_PSEUDONYM.findall(text)) if "anon-" in text else set()


def shown(text: str, names: Mapping[str, str]) -> str:
    """The JSON `text` with the names that are still known; pseudonyms of others stay."""
    if "anon-" not in text:
        return text
    return _PSEUDONYM.sub(lambda found: _quoted(names.get(found[0], found[0])), text)


@lru_cache(maxsize=4096)
def _quoted(name: str) -> str:
    """As it stands inside a JSON string: every write asks for everybody known."""
    return encode_basestring(name)[1:-1]


def unknown(names: Collection[str], known: Mapping[str, str]) -> list[str]:
    """Names that have no pseudonym yet, each once, in a fixed order."""
    return sorted(name for name in set(names) - known.keys() if is_name(name))
