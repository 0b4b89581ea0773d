"""The three services of the example: what their caller sent wrong is said to him at once."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import orjson
import pytest
from listener import Heard, Said, listening

from interlock.errors import Unavailable, Unusable

APPS = Path(__file__).parents[2] / "examples" / "flights" / "apps"


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(APPS))
    return importlib.import_module("shared")


def test_a_request_that_nobody_would_take_is_not_asked_again(shared: ModuleType) -> None:
    def declines(_: Heard) -> Said:
        return Said(400, orjson.dumps({"error": "`inputs` must be a list"}))

    with listening(declines) as gateway, pytest.raises(Unusable, match="`inputs` must be a list"):
        shared.Caller([gateway.url]).post("/v2/models/late/infer", b"{}")
    assert len(gateway.heard) == 1


def test_who_has_too_much_to_do_is_asked_again(
    shared: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "PATIENCE", 0.1)

    def full(_: Heard) -> Said:
        return Said(429, b'{"error": "too many"}')

    with listening(full) as gateway, pytest.raises(Unavailable, match="none of"):
        shared.Caller([gateway.url]).post("/v2/models/late/infer", b"{}")
    assert len(gateway.heard) > 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_request_is_told_so(shared: ModuleType, body: bytes) -> None:
    with pytest.raises(Unusable, match="the body is no"):
        shared._read(body)
