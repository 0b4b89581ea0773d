"""A training set for anybody's rows: each once, in order, with what was known then."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from interlock.app import spines
from interlock.app.datasets import Ask, read_dataset, write_dataset
from interlock.app.training import input_columns, labelled
from interlock.app.versions import stable
from interlock.app.workspace import Workspace
from interlock.errors import NotFound, Refused, Unavailable, Unusable

SOME = "SELECT * FROM wh.spine WHERE flight_id % 7 = 0 ORDER BY flight_id DESC"


def spine(workspace: Workspace) -> pa.Table:
    return workspace.warehouse.query("SELECT * FROM wh.spine WHERE flight_id % 7 = 0")


# R-B2
def test_the_default_is_what_the_model_was_trained_on(live: Workspace) -> None:
    found = read_dataset(live, Ask("late"))
    version = stable(live)
    assert version is not None
    model = version.project.models["late"]
    span = model.training
    trained = labelled(version.builder(live), model, span.start, span.end, live.now())
    inputs = [model.key, *input_columns(model)]
    known = found.filter(pa.compute.is_valid(found.column("label")))
    assert known.num_rows == trained.num_rows > 0
    assert known.select(inputs).sort_by(model.key).equals(trained.select(inputs).sort_by(model.key))


def test_every_row_comes_once_and_in_its_order(live: Workspace) -> None:
    rows = spine(live)
    twice = pa.concat_tables([rows, rows.slice(0, 3)]).sort_by([("flight_id", "descending")])
    found = read_dataset(live, Ask("late", twice, zone="UTC"))
    assert found.column("flight_id").to_pylist() == twice.column("flight_id").to_pylist()
    assert found.select(twice.column_names).equals(
        twice.cast(found.select(twice.column_names).schema)
    )
    as_sql = read_dataset(live, Ask("late", SOME))
    assert as_sql.num_rows == rows.num_rows
    assert as_sql.column("flight_id").to_pylist() == sorted(
        rows.column("flight_id").to_pylist(), reverse=True
    )


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".arrow"])
def test_a_file_is_written_whole_with_its_manifest(
    live: Workspace, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"rows{ending}"
    written = write_dataset(live, Ask("late", SOME), out)
    reader = {
        ".parquet": pa.parquet.read_table,
        ".csv": pa.csv.read_csv,
        ".arrow": lambda file: pa.ipc.open_file(file).read_all(),
    }[ending]
    rows = reader(str(out))
    assert rows.num_rows == written.rows == read_dataset(live, Ask("late", SOME)).num_rows
    manifest = json.loads((tmp_path / f"rows{ending}.manifest.json").read_text())
    assert manifest["sha256"] == sha256(out.read_bytes()).hexdigest()
    assert [(one["name"], one["nulls"]) for one in manifest["columns"]] == [
        (name, rows.column(name).null_count) for name in rows.column_names
    ]
    known = rows.num_rows - rows.column("label").null_count
    assert manifest["maturity"] == known / rows.num_rows > 0
    source = next(one for one in manifest["sources"] if one["ref"] == "table:wh.spine")
    held = live.warehouse.query("SELECT count(*) AS n FROM wh.spine").to_pylist()[0]["n"]
    assert source["snapshot"].startswith(f"duckdb {held} rows ")
    assert all(one["watermark"] for one in manifest["sources"] if one["ref"].startswith("view:"))
    assert sorted(p.name for p in tmp_path.glob("*rows*")) == [
        out.name,
        f"{out.name}.manifest.json",
    ]
    again = write_dataset(live, Ask("late", SOME), tmp_path / f"again{ending}")
    assert reader(str(again.file)).equals(rows)
    # Arrow's own format leaves bits between values as they were in memory.
    assert ending == ".arrow" or again.sha256 == written.sha256


@pytest.mark.parametrize("own", [False, True], ids=["SELECT", "table"])
def test_a_long_spine_is_joined_in_stretches_and_nobody_sees_it(
    live: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    asked = Ask("late", spine(live) if own else SOME, zone="UTC")
    whole = read_dataset(live, asked)
    count = "SELECT count(*) AS n FROM duckdb_tables() WHERE table_name LIKE 'asked%'"
    for stretch in (1 + whole.num_rows // 3, whole.num_rows - 1, 97):
        monkeypatch.setattr(spines, "STRETCH", stretch)
        written = write_dataset(live, asked, tmp_path / "rows.parquet")
        assert written.rows == whole.num_rows
        assert pa.parquet.read_table(written.file).equals(whole)
        assert live.warehouse.query(count).to_pylist() == [{"n": 0}]


def test_a_spine_file_says_its_zone(live: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "spine.parquet"
    rows = spine(live)
    pa.parquet.write_table(rows, file)
    with pytest.raises(Refused, match="no time zone"):
        read_dataset(live, Ask("late", file))
    utc = read_dataset(live, Ask("late", file, zone="UTC"))
    assert utc.num_rows == rows.num_rows
    # Five hours later in UTC: other values were known, and the times say so.
    shifted = read_dataset(live, Ask("late", file, zone="America/New_York"))
    first = utc.column("cutoff")[0].as_py(), shifted.column("cutoff")[0].as_py()
    assert (first[1] - first[0]).total_seconds() == 5 * 3600
    assert not utc.equals(shifted)
    aware = rows.set_column(
        rows.column_names.index("cutoff"), "cutoff",
        rows.column("cutoff").cast(pa.timestamp("us", "UTC")),
    )  # fmt: skip
    assert read_dataset(live, Ask("late", aware, zone="UTC")).equals(utc)
    with pytest.raises(Unusable, match="Mars"):
        read_dataset(live, Ask("late", file, zone="Mars/Base"))
    # An hour that occurs twice, one that never does: a guess may see what was not yet known.
    place, cut = rows.column_names.index("cutoff"), rows.slice(0, 3)
    local = [datetime(2013, 11, 3, 1, 30), datetime(2013, 3, 10, 2, 30), datetime(2013, 3, 1, 2)]
    odd = cut.set_column(place, "cutoff", pa.array(local, pa.timestamp("us")))
    with pytest.raises(Refused, match="no one hour") as refused:
        read_dataset(live, Ask("late", odd, zone="America/New_York"))
    (objection,) = refused.value.objections
    assert objection == (
        "cutoff: 2 times occur twice or never in America/New_York, as 2013-11-03 01:30:00"
    )
    assert "-05:00" in refused.value.help
    read_dataset(live, Ask("late", odd.slice(2), zone="America/New_York"))


def test_a_spine_of_offsets_is_exact_and_one_that_mixes_is_refused(
    live: Workspace, tmp_path: Path
) -> None:
    def asked(*cutoffs: str) -> Path:
        file = tmp_path / "spine.csv"
        named = spine(live).select(["flight_id", "carrier", "origin", "dest"]).slice(0, 1)
        model = live.project.models["late"]
        rows = (
            spine(live)
            .slice(0, len(cutoffs))
            .drop_columns([model.time])
            .append_column(model.time, pa.array(cutoffs))
        )
        assert named.num_rows
        pa.csv.write_csv(rows, file)
        return file

    zoned = ("2013-02-20T01:30:00-04:00", "2013-02-20T01:30:00-05:00", "2013-02-20T12:00:00+05:30")
    found = read_dataset(live, Ask("late", asked(*zoned), zone="UTC"))
    assert [str(at) for at in found.column("cutoff").to_pylist()] == [
        "2013-02-20 05:30:00", "2013-02-20 06:30:00", "2013-02-20 06:30:00",
    ]  # fmt: skip
    with pytest.raises(Refused) as refused:
        read_dataset(live, Ask("late", asked(zoned[0], "2013-02-20T01:30:00"), zone="UTC"))
    assert "should be a timestamp" in " ".join(refused.value.objections)


def test_a_label_is_joined_only_as_far_as_it_is_known(live: Workspace) -> None:
    found = read_dataset(live, Ask("late", "SELECT * FROM wh.spine WHERE TRUE"))
    now = live.now().astimezone(UTC).replace(tzinfo=None)
    known = [t for t in found.column("label_available_at").to_pylist() if t is not None]
    assert known
    assert max(known) <= now
    assert found.column("label").null_count > 0
    without = read_dataset(live, Ask("late", SOME, label=False))
    assert not {"label", "label_available_at"} & set(without.column_names)


def test_every_objection_to_a_spine_is_told_at_once(live: Workspace, tmp_path: Path) -> None:
    rows = pa.table({
        "flight_id": [1], "cutoff": ["soon"], "origin": [3], "wx_temp_f": [1.0],
    })  # fmt: skip
    with pytest.raises(Refused) as caught:
        read_dataset(live, Ask("late", rows))
    said = "\n".join(caught.value.objections)
    for part in ("no column carrier", "no column tailnum", "cutoff is VARCHAR", "origin is BIGINT",
                 "already has a column wx_temp_f"):  # fmt: skip
        assert part in said
    with pytest.raises(NotFound, match="later"):
        read_dataset(live, Ask("later"))
    with pytest.raises(NotFound, match=r"wh\.nothing"):
        read_dataset(live, Ask("late", "SELECT * FROM wh.nothing"))
    with pytest.raises(Unusable, match="no SELECT"):
        read_dataset(live, Ask("late", "DROP TABLE wh.spine"))
    with pytest.raises(NotFound, match="no file"):
        read_dataset(live, Ask("late", tmp_path / "none.parquet"))
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 not really")
    with pytest.raises(Unavailable, match="cannot be read"):
        read_dataset(live, Ask("late", broken))
    with pytest.raises(Unusable, match="ending"):
        write_dataset(live, Ask("late"), tmp_path / "rows.xlsx")
    with pytest.raises(Unavailable):
        write_dataset(live, Ask("late", SOME), tmp_path / "no" / "rows.csv")


def test_nothing_is_left_of_a_file_that_could_not_be_written(
    live: Workspace, tmp_path: Path
) -> None:
    out = tmp_path / "rows.parquet"
    out.write_bytes(b"before")
    bad = "SELECT *, 1 / (flight_id - flight_id)::INT AS x, error('stop') AS y FROM wh.spine"
    with pytest.raises(Unusable, match="stop"):
        write_dataset(live, Ask("late", bad), out)
    assert out.read_bytes() == b"before"
    assert list(tmp_path.glob(".*")) == []
