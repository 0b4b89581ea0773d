"""What the description promises, asked at random: known statuses, true shapes, readable noes.

Schemathesis makes requests from the description, those that fit it and those that do not, and
holds every answer against it. It is used as a library: as a plugin it would be loaded by all
tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import app_world as world
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from interlock.app.workspace import Workspace
from interlock.web.api.app import api_app
from interlock.web.api.limits import Pace
from interlock.web.api.people import Backing, Rules
from interlock.web.desk import RecordDesk

pytestmark = pytest.mark.slow
HELD = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_schema_conformance,
]  # fmt: skip
# Each of these begins a process of its own; what they answer is held in test_api.
JOBS = ("/api/v1/changes/{id}/replan", "/api/v1/changes/{id}/prove")
KNOWN = {
    "id": ("CR-1", "CR-2", "CR-3"), "about": ("CR-1", "model:late"), "number": (1,),
    "ref": ("model:late", "change:CR-1"),
}  # fmt: skip
OF = {"/api/v1/audit/proof": {"ref": "change:CR-1"}, "/api/v1/inbox": {"by": "wei"}}


@pytest.fixture(scope="module")
def described(signed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The description, over a project with one release and two changes. One person's own."""
    folder = world.copied(signed, tmp_path_factory.mktemp("shapes") / "project")
    workspace = Workspace(folder, door="server")
    backing = Backing(workspace, RecordDesk(workspace), Rules(tokens=False), pace=Pace(1e9, 1e9))
    yield schemathesis.openapi.from_asgi("/api/v1/openapi.json", api_app(backing))
    workspace.close()


def operations(described: Any) -> list[Any]:
    found = [one.ok() for one in described.get_all_operations()]
    return [one for one in found if one.path not in JOBS]


def asked(case: Any) -> Any:
    """The answer to a request, held against the description."""
    answer = case.call()
    case.validate_response(answer, checks=HELD)
    if answer.status_code >= 400:
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["type"].startswith("urn:interlock:error:")
        assert problem["detail"]
    return answer


@given(data=st.data())
@settings(
    max_examples=250, deadline=None, derandomize=True, phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_whatever_is_asked_is_answered_as_described(described: Any, data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(operations(described)))
    mode = data.draw(st.sampled_from(list(GenerationMode)))
    case = data.draw(operation.as_strategy(generation_mode=mode))
    for name, words in KNOWN.items():
        for place in (case.path_parameters, case.query):
            if place and name in place and data.draw(st.booleans()):
                place[name] = data.draw(st.sampled_from(words))
    if case.body and isinstance(case.body, dict) and data.draw(st.booleans()):
        case.body["by"] = "wei"
    asked(case)


def test_every_real_answer_has_the_shape_that_is_described(described: Any) -> None:
    """Each look is asked about something that is there, so no shape is held by refusals alone."""
    for operation in operations(described):
        looks = operation.method.lower() == "get"
        if not looks or "{digest}" in operation.path or "/jobs/" in operation.path:
            continue
        known = {**{name: words[0] for name, words in KNOWN.items()}, **OF.get(operation.path, {})}
        wanted = {name: known[name] for name in _names(operation) if name in known}
        path = {name: word for name, word in wanted.items() if f"{{{name}}}" in operation.path}
        query = {name: word for name, word in wanted.items() if name not in path}
        case = operation.Case(path_parameters=path, query=query, headers={}, cookies={})
        assert asked(case).status_code == 200, operation.path


def _names(operation: Any) -> set[str]:
    return {one.name for one in operation.iter_parameters()}
