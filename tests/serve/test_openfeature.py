"""The real OpenFeature SDK, over OFREP to a real server and inside the process: one answer."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import httpx
import pytest
from client_world import gateway_at, serving
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from serving_world import CANDIDATE, STABLE, World, world

from interlock.client.carry import carrying, outgoing_headers
from interlock.client.client import Client
from interlock.client.openfeature import InterlockProvider
from interlock.serve.carried import Carried
from interlock.web.gateway import gateway_app

SUBJECTS = [str(n) for n in range(60)]
FLAGS = "/ofrep/v1/evaluate/flags"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    one = world(tmp_path_factory.mktemp("flags"))
    one.route(candidate=CANDIDATE, weight=0.5)
    return one


@pytest.fixture(scope="module")
def url(made: World) -> Iterator[str]:
    with gateway_at(made) as address:
        yield address


@pytest.fixture(scope="module")
def inside(url: str) -> Iterator[Client]:
    client = Client([url]).start()
    yield client
    client.stop()


@pytest.fixture(scope="module", params=["ofrep", "inside"])
def flags(request: pytest.FixtureRequest, url: str) -> Iterator[OpenFeatureClient]:
    """The SDK over one provider; both pass the same tests."""
    inside = request.getfixturevalue("inside")
    remote = OFREPProvider(url, headers_factory=outgoing_headers)
    provider = remote if request.param == "ofrep" else InterlockProvider(inside)
    api.set_provider(provider, request.param)
    yield api.get_client(request.param)
    api.clear_providers()


def of(subject: str) -> EvaluationContext:
    return EvaluationContext(targeting_key=subject, attributes={"team": "ops"})


def test_each_subject_is_told_the_release_that_scores_it(
    flags: OpenFeatureClient, made: World
) -> None:
    seen = set()
    for subject in SUBJECTS:
        arm, loaded = made.gateway.live().assign(subject)
        told = flags.get_string_details("crew.release", "", of(subject))
        assert (told.value, told.variant, told.reason) == (loaded.spec.release, arm, Reason.SPLIT)
        assert told.flag_metadata == {"epoch": 1, "release": loaded.spec.release}
        assert flags.get_boolean_value("gates.candidate", False, of(subject)) == (
            arm == "candidate"
        )
        seen.add(told.value)
    assert seen == {STABLE, CANDIDATE}


def test_asked_without_waiting(flags: OpenFeatureClient, made: World) -> None:
    async def ask() -> tuple[str, bool]:
        release = await flags.get_string_value_async("crew.release", "", of("7"))
        return release, await flags.get_boolean_value_async("crew.candidate", False, of("7"))

    arm, loaded = made.gateway.live().assign("7")
    assert anyio.run(ask) == (loaded.spec.release, arm == "candidate")


def test_a_release_that_is_carried_decides_not_the_subject(
    flags: OpenFeatureClient, inside: Client
) -> None:
    for digest in (STABLE, CANDIDATE):
        with carrying(inside.accept(Carried(digest, 1))):
            told = {flags.get_string_value("crew.release", "", of(s)) for s in SUBJECTS}
        assert told == {digest}


def test_mistakes_are_said_in_the_protocols_words_and_the_default_counts(
    flags: OpenFeatureClient,
) -> None:
    unknown = flags.get_string_details("crew.colour", "blue", of("7"))
    assert (unknown.value, unknown.error_code) == ("blue", ErrorCode.FLAG_NOT_FOUND)
    assert "crew.candidate, crew.release" in str(unknown.error_message)
    nobody = flags.get_string_details("crew.release", "none", EvaluationContext())
    # Without anything in it the SDK sends no context at all.
    known = (ErrorCode.TARGETING_KEY_MISSING, ErrorCode.INVALID_CONTEXT)
    assert (nobody.value, nobody.error_code in known) == ("none", True)
    someone = flags.get_string_details("crew.release", "none", EvaluationContext(None, {"a": 1}))
    assert someone.error_code == ErrorCode.TARGETING_KEY_MISSING
    odd = flags.get_boolean_details("crew.release", True, of("7"))
    assert (odd.value, odd.error_code) == (True, ErrorCode.TYPE_MISMATCH)
    for told in (
        flags.get_integer_details("crew.release", 3, of("7")),
        flags.get_float_details("crew.release", 3.5, of("7")),
        flags.get_object_details("crew.release", {}, of("7")),
    ):
        assert told.error_code == ErrorCode.TYPE_MISMATCH


def test_before_a_release_is_loaded_the_default_counts(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    nothing = world(tmp_path_factory.mktemp("nothing"))
    with serving(gateway_app(nothing.gateway)) as address:
        api.set_provider(OFREPProvider(address), "away")
        told = api.get_client("away").get_string_details("crew.release", "none", of("7"))
        assert (told.value, told.error_code) == ("none", ErrorCode.GENERAL)
        with httpx.Client(base_url=address) as http:
            bulk = http.post(FLAGS, json={"context": {"targetingKey": "7"}})
        assert (bulk.status_code, bulk.json()["errorCode"]) == (503, "PROVIDER_NOT_READY")
    api.set_provider(InterlockProvider(Client([address])), "away")
    told = api.get_client("away").get_string_details("crew.release", "none", of("7"))
    assert told.value == "none"
    assert told.error_code in (ErrorCode.PROVIDER_NOT_READY, ErrorCode.GENERAL)
    api.clear_providers()


@pytest.mark.parametrize(
    ("ask", "status", "code"),
    [
        ({"content": b"x" * 70_000}, 400, "INVALID_CONTEXT"),
        ({"content": b'{"context": {"targetingKey": "\\ud800"}}'}, 400, "PARSE_ERROR"),
        ({"json": {"context": {"targetingKey": 7}}}, 400, "TARGETING_KEY_MISSING"),
        ({"json": {"context": {"targetingKey": ""}}}, 400, "TARGETING_KEY_MISSING"),
        ({"json": [1]}, 400, "INVALID_CONTEXT"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_bulk_too(
    url: str, ask: dict[str, object], status: int, code: str
) -> None:
    with httpx.Client(base_url=url) as http:
        for path in (FLAGS, f"{FLAGS}/crew.release"):
            reply = http.post(path, **ask)  # type: ignore[arg-type]  # content or json
            assert (reply.status_code, reply.json()["errorCode"]) == (status, code)


def test_all_flags_are_held_by_their_tag_until_the_route_moves(url: str, made: World) -> None:
    asked = {"context": {"targetingKey": "7"}}
    with httpx.Client(base_url=url) as http:
        first = http.post(FLAGS, json=asked)
        tag = first.headers["etag"]
        for held in (tag, f'"x", {tag}', f"W/{tag}", "*"):
            again = http.post(FLAGS, json=asked, headers={"if-none-match": held})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
            assert "content-length" not in again.headers  # it would be that of the flags
        for other in ('"x"', ""):
            assert http.post(FLAGS, json=asked, headers={"if-none-match": other}).json()
        made.route(candidate=CANDIDATE, weight=0.75)
        moved = http.post(FLAGS, json=asked, headers={"if-none-match": tag})
        assert (moved.status_code, moved.json()["flags"][0]["metadata"]["epoch"]) == (200, 2)
        assert moved.headers["etag"] != tag
        made.route(candidate=CANDIDATE, weight=0.5)
        assert http.get(FLAGS).status_code == 405
        assert http.post(f"{FLAGS}x", json=asked).status_code == 404
