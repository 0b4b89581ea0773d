"""`sample` and `synth` as people meet them: masked rows, why, and what was made up."""

from __future__ import annotations

from pathlib import Path

import pytest
from terminal import interlock

CLEARANCE = """\
privacy:
  clearance: {data_steward: sensitive}
"""


@pytest.fixture
def classified(fresh: Path) -> Path:
    """Nothing was run yet; aircraft are classified, data stewards are cleared."""
    table = fresh / "tables/raw_planes.yaml"
    text = table.read_text()
    table.write_text(text.replace("tailnum: {type: string", "tailnum: {type: string, classification: sensitive"))  # fmt: skip  # noqa: E501  # one edit
    settings = fresh / "interlock.yaml"
    settings.write_text(settings.read_text() + CLEARANCE)
    return fresh


def test_a_viewer_is_told_what_is_masked_and_why(classified: Path) -> None:
    done = interlock("sample", "table:wh.planes", "-C", classified, "--by", "priya", "--rows", "3")
    assert done.code == 0
    head, *rows = done.out.splitlines()
    assert head.split()[0] == "tailnum"
    assert [row.split()[0] for row in rows[:3]] == ["[redacted]"] * 3
    assert rows[3] == "3 rows of table:wh.planes"
    said = "masked  wh.planes.tailnum: redact: sensitive, from column:raw.planes.tailnum"
    assert said in rows


def test_a_steward_sees_and_is_told_that_it_is_on_record(classified: Path) -> None:
    asked = ("sample", "table:wh.planes", "-C", classified, "--by", "amina")
    done = interlock(*asked)
    assert "[redacted]" not in done.out
    assert "clear   wh.planes.tailnum: this look is in the audit" in done.out
    found = interlock(*asked, "--json").json
    assert len(found["rows"]) == 10
    assert (found["masked"], found["clear"]) == ({}, ["wh.planes.tailnum"])
    assert interlock("audit", "verify", "-C", classified).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("sample", "--by", "amina"),
        ("sample", "table:wh.nothing", "--by", "amina"),
        ("sample", "--sql", "SELECT * FROM read_csv('data/planes.csv')", "--by", "amina"),
        ("synth", "wh.nothing", "--out", "elsewhere"),
        ("synth", "--out", "."),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_next_step(
    classified: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(classified)
    done = interlock(*arguments, "--json")
    assert done.code == 3 or done.error["code"] == "not-found"
    assert done.error["help"]
    assert done.out == ""


def test_synth_says_how_close_it_is_and_the_new_project_stands(
    classified: Path, tmp_path: Path
) -> None:
    out = tmp_path / "staging"
    done = interlock("synth", "-C", classified, "--out", out)
    assert done.code == 0
    assert "table:raw.planes: 256 rows for 256 real ones in data/planes.csv" in done.out
    assert "classified: tailnum; 0 rows copied" in done.out
    assert "real rows are not remembered" in done.out
    assert done.out.splitlines()[-1] == f"{out} is ready; next: interlock check -C {out}"
    assert interlock("check", "-C", out).code == 0
    assert interlock("plan", "-C", out).code == 2
    again = interlock("synth", "raw.planes", "-C", classified, "--out", out, "--json")
    assert [made["copied"] for made in again.json] == [0]
