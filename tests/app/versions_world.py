"""Two versions of one view side by side, each pinned by a model; a change ends the first."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import app_world as world

from interlock.app import decide
from interlock.app.tick import tick

KEPT = ("origin_weather", "tail_last_delay", "origin_load_1h")
ONE, TWO = "view:origin_weather@1", "view:origin_weather@2"
FIRST, SECOND = "features/origin_weather.sql", "features/origin_weather_2.sql"
PINS = {"late": "origin_weather@1:wx_temp_f", "late_c": "origin_weather@2:wx_temp_c"}


def two_versions(folder: Path) -> None:
    """`late` in Fahrenheit on @1, `late_c` in Celsius on @2; few views, so that it is quick."""
    world.configure(folder)
    settings = folder / "interlock.yaml"
    stages = "    stages:\n      - {name: soak, weight: 1, hold: 3d}\n"
    text = settings.read_text()
    settings.write_text(re.sub(r"(?ms)^    stages:\n.*?(?=^    rollback_window)", stages, text))
    for file in (folder / "features").glob("*.sql"):
        if file.stem not in KEPT:
            file.unlink()
    view = (folder / FIRST).read_text()
    for old, new in (
        ("version: 1", "version: 2"), ("wx_temp_f", "wx_temp_c"), ("unit: degF", "unit: degC"),
        ("value: 55.4", "value: 13"), ("  temp_f AS", "  (temp_f - 32) / 1.8 AS"),
    ):  # fmt: skip
        assert old in view
        view = view.replace(old, new)
    (folder / SECOND).write_text(view)
    model = (folder / "models/late.yaml").read_text()
    for name, pin in PINS.items():
        inputs = ["tail_last_delay@1:tail_last_delay", "origin_load_1h@1:origin_load_1h"]
        lines = "".join(f"  - {one}\n" for one in (pin, *inputs))
        said = re.sub(r"(?ms)^features:\n.*?(?=^request:)", f"features:\n{lines}", model)
        (folder / f"models/{name}.yaml").write_text(said.replace("model: late", f"model: {name}"))
    world.edit(folder, "services/gates.yaml", "models: [late]", "models: [late_c]")


def release(folder: Path, title: str) -> str:
    """Propose what the files say, sign it, and walk it through its one stage."""
    with world.opened(folder) as workspace:
        id = world.proposed(workspace, title).id
        world.signed(workspace, id)
        decide.apply(workspace, id, by="sam")
        while world.current(workspace, id).state == "PREPARING":
            tick(workspace)
        if world.current(workspace, id).state == "SOAKING":
            world.play(workspace, timedelta(days=3))
            tick(workspace)
            world.go_on(workspace, id)
        assert world.current(workspace, id).state == "COMMITTED", world.current(workspace, id).said
    return id


def end_the_first(folder: Path) -> None:
    """Every reader moves to @2, and @1 is taken out of the files."""
    world.edit(folder, "models/late.yaml", PINS["late"], PINS["late_c"])
    (folder / FIRST).unlink()
