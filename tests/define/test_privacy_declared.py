"""What may be said about privacy in `interlock.yaml`, and what is refused with its line."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from interlock.define.load import read
from interlock.define.privacy import REDACT
from interlock.define.project import Project

MAIN = """\
name: shop
owners: {eng: {ada: [data_steward], bo: [model_validator]}}
environments:
  prod: {subject: [id], stages: [{name: soak, weight: 1, hold: 1d}]}
"""
TABLE = """\
name: wh.people
owner: eng
source: {csv: people.csv}
columns:
  id: {type: integer}
  mail: {type: string, classification: sensitive}
  born: {type: date, classification: sensitive}
  town: {type: string, classification: public}
"""


def reading(privacy: dict[str, Any] | None) -> Any:
    said = yaml.safe_dump({"privacy": privacy}) if privacy is not None else ""
    return read({"interlock.yaml": MAIN + said, "tables/people.yaml": TABLE})


def project(privacy: dict[str, Any] | None = None) -> Project:
    found = reading(privacy)
    assert found.project is not None, found.problems
    made: Project = found.project
    return made


def test_with_nothing_said_the_sensitive_is_redacted_and_nobody_is_cleared() -> None:
    said = project().privacy
    assert said.mask_of("wh.people.mail", "sensitive") == REDACT
    assert said.mask_of("wh.people.id", "internal") is None
    assert said.cleared("ada", frozenset({"data_steward"})) == "public"


def test_a_column_counts_before_its_classification_and_the_highest_clearance_wins() -> None:
    said = project(
        {
            "key": "${SHOP_KEY}",
            "masks": {"sensitive": {"mask": "hash"}, "internal": {"mask": "null"}},
            "columns": {
                "wh.people.born": {"mask": "bucket", "width": 3650},
                "wh.people.town": {"mask": "null"},
            },
            "clearance": {"data_steward": "internal", "ada": "sensitive"},
        }
    ).privacy
    masks = {
        name: said.mask_of(f"wh.people.{name}", kind).mask  # type: ignore[union-attr]  # all are masked
        for name, kind in (("id", "internal"), ("mail", "sensitive"), ("born", "sensitive"))
    }
    assert masks == {"id": "null", "mail": "hash", "born": "bucket"}
    assert said.mask_of("wh.people.town", "public") is not None, "its own mask counts"
    assert said.cleared("ada", frozenset({"data_steward"})) == "sensitive"
    assert said.cleared("carl", frozenset({"data_steward"})) == "internal"


@pytest.mark.parametrize(
    ("privacy", "said"),
    [
        ({"masks": {"sensitive": {"mask": "hash"}}}, "`hash` needs a key"),
        ({"key": "hunter2"}, "privacy.key"),
        ({"masks": {"public": {"mask": "null"}}}, "public"),
        ({"columns": {"wh.people.nail": {"mask": "null"}}}, "no column wh.people.nail"),
        ({"columns": {"wh.people.mail": {"mask": "bucket", "width": 5}}}, "is string: no buckets"),
        ({"masks": {"sensitive": {"mask": "bucket"}}}, "needs width or edges"),
        ({"masks": {"sensitive": {"mask": "null", "width": 2}}}, "needs width or edges"),
        ({"masks": {"sensitive": {"mask": "bucket", "edges": [2, 1]}}}, "edges must grow"),
        ({"clearance": {"eve": "sensitive"}}, "no person or role eve"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(privacy: dict[str, Any], said: str) -> None:
    found = reading(privacy)
    assert found.project is None
    (problem,) = found.problems
    assert said in f"{problem}"
    assert problem.file == "interlock.yaml"
    assert problem.line >= MAIN.count("\n")
