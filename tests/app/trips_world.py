"""A project as small as can be released: one table, one view, one model, one service.

For engines on which each query takes long: what differs between them is what is asked.
"""

from __future__ import annotations

import csv
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import app_world as world

from interlock.app import decide
from interlock.app.tick import tick

START, DAYS, TRIPS = datetime(2013, 1, 1, tzinfo=UTC), 70, 40
FILES = {
    "interlock.yaml": """name: trips
owners:
  data-eng: {dana: [data_steward, model_validator], bo: [change_sponsor, service_owner]}
  ops: {sam: [emergency_approver]}
environments:
  prod:
    clock: replay
    subject: [trip_id]
    stages:
      - {name: mirror, weight: 0, hold: 2d}
      - {name: quarter, weight: 0.25, hold: 2d}
      - {name: soak, weight: 1, hold: 3d}
""",
    "policies/all.cedar": "permit (principal, action, resource);\n",
    "tables/wh_trips.yaml": """name: wh.trips
owner: data-eng
columns:
  trip_id: {type: integer}
  place: {type: string}
  cutoff: {type: timestamp}
  known_at: {type: timestamp}
  delay: {type: double}
key: [trip_id]
event_time: cutoff
available_at: known_at
source: {csv: data/trips.csv}
""",
    "features/place_delay.sql": """/*
view: place_delay
version: 1
owner: data-eng
entity: [place]
event_time: cutoff
available_at: known_at
tie_break: trip_id
ttl: 36h
features:
  delay_before: {unit: min}
*/
SELECT place, cutoff, known_at, trip_id, delay AS delay_before FROM wh.trips
""",
    "models/late.yaml": """model: late
owner: data-eng
spine: wh.trips
key: trip_id
time: cutoff
features: [place_delay@1:delay_before]
request: [place]
categories: [place]
label:
  column: late
  available_at: known_at
  sql: SELECT trip_id, CASE WHEN delay > 15 THEN 1 ELSE 0 END AS late, known_at FROM wh.trips
training:
  entry: late.py:train
  start: 2013-01-02
  end: 2013-02-05
  seed: 1
evaluation: {start: 2013-02-05, end: 2013-02-26, slices: [place], min_rows: 50, min_positives: 5}
fallback_score: 0.3
""",
    "models/late.py": """import lightgbm


def train(X, y, inputs, categorical, options):
    rows = lightgbm.Dataset(X, y, feature_name=list(inputs), categorical_feature=list(categorical))
    asked = {"objective": "binary", "verbosity": -1, "num_threads": 1, "deterministic": True,
             "bagging_fraction": 0.7, "bagging_freq": 1, "seed": int(options["seed"])}
    return lightgbm.train(asked, rows, 10)
""",
    "services/rebooking.yaml": """service: rebooking
owner: data-eng
models: [late]
decision_unit: [trip_id]
tier: 2
slo: {latency: 0.25s, availability: 0.999}
kpi:
  name: cost
  better: lower
  margin: 0.05
  sql: >-
    SELECT trip_id AS unit, CAST(cutoff AS DATE) AS day,
      CASE WHEN p >= 0.5 THEN 1 - late WHEN late = 1 THEN 2 ELSE 0 END AS value
    FROM scored
""",
}


def write_trips(folder: Path, also: str = "", instead: tuple[str, str] = ("", "")) -> Path:
    """The project with made-up rows; `also` are more lines of its environment.

    `instead` is a text of its files and what stands there in its place.
    """
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        text = text.replace(*instead) if instead[0] else text
        (folder / name).write_text(text.replace("    subject:", f"{also}    subject:"))
    (folder / "data").mkdir()
    with (folder / "data" / "trips.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["trip_id", "place", "cutoff", "known_at", "delay"])
        writer.writerows(_trips())
    return folder


def released(folder: Path, also: str = "", instead: tuple[str, str] = ("", "")) -> Path:
    """The project in `folder`, whose first release runs."""
    write_trips(folder, also, instead)
    with world.opened(folder) as workspace:
        world.proposed(workspace, "First release")
        world.signed(workspace, "CR-1")
        decide.apply(workspace, "CR-1", by="sam")
        tick(workspace)
        assert world.current(workspace, "CR-1").state == "COMMITTED"
    return folder


def _trips() -> list[list[object]]:
    chance, rows, mood = random.Random(3), [], dict.fromkeys("abc", 0.0)
    for number in range(DAYS * TRIPS):
        at = START + timedelta(days=number / TRIPS)
        place = chance.choice("abc")
        mood[place] = 0.8 * mood[place] + chance.gauss(0, 10)
        delay = round(mood[place] + chance.gauss(5, 10), 1)
        known = at + timedelta(hours=2)
        rows.append([number, place, at.isoformat(), known.isoformat(), delay])
    return rows
