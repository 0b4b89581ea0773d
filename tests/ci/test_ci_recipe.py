"""The recipe for pull requests, run as CI does: against a server that plays GitHub's comments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from listener import Heard, Listener, Said, listening

from interlock.app.templates import init

TOKEN = "ghs_secret"
STRANGER = {"id": 7, "body": "what does <!-- interlock plan flights prod --> do?"}


@dataclass
class Comments:
    """The comments of one pull request, as GitHub's API serves them."""

    kept: list[dict[str, Any]] = field(default_factory=lambda: [dict(STRANGER)])

    def answer(self, heard: Heard) -> Said:
        at = urlsplit(heard.path)
        body = json.loads(heard.body) if heard.body else {}
        if heard.headers.get("authorization") != f"Bearer {TOKEN}":
            return Said(401, b'{"message": "Bad credentials"}')
        match heard.method, at.path:
            case "GET", "/repos/acme/late/issues/12/comments":
                query = parse_qs(at.query)
                size, page = int(query["per_page"][0]), int(query["page"][0])
                shown = self.kept[size * (page - 1) : size * page]
                return Said(200, json.dumps(shown).encode())
            case "POST", "/repos/acme/late/issues/12/comments":
                self.kept.append({"id": 1000 + len(self.kept), "body": body["body"]})
                return Said(201, b"{}")
            case "PATCH", path:
                id = int(path.removeprefix("/repos/acme/late/issues/comments/"))
                next(one for one in self.kept if one["id"] == id)["body"] = body["body"]
                return Said(200, b"{}")
        return Said(404, b"{}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose project was written by `init`."""
    folder = tmp_path_factory.mktemp("ci") / "late"
    init("flights", folder, generated_days=21, flights_per_day=3)
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        who = ["-c", "user.name=wei", "-c", "user.email=wei@example.org"]
        subprocess.run(["git", *who, *command], cwd=folder, check=True)
    return folder


@pytest.fixture
def github() -> Iterator[tuple[Listener, Comments]]:
    comments = Comments()
    with listening(comments.answer) as listener:
        yield listener, comments


def recipe(folder: Path, url: str, **more: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {
        "PATH": path, "HOME": str(folder), "GITHUB_API_URL": url, "GITHUB_TOKEN": TOKEN,
        "GITHUB_REPOSITORY": "acme/late", "PR_NUMBER": "12", **more,
    }  # fmt: skip
    return subprocess.run(
        ["bash", "ci/interlock-plan.sh"], cwd=folder, env=env, text=True, capture_output=True,
        check=False,
    )  # fmt: skip


def methods(listener: Listener) -> list[str]:
    return [heard.method for heard in listener.heard]


def test_the_first_run_posts_and_the_next_writes_over_it(
    made: Path, github: tuple[Listener, Comments]
) -> None:
    listener, comments = github
    first = recipe(made, listener.url)
    assert (first.returncode, first.stderr) == (0, ""), first.stderr  # exit 2 is no failure
    assert methods(listener) == ["GET", "POST"]
    assert comments.kept[1]["body"].startswith(
        "<!-- interlock plan flights prod -->\n### Interlock"
    )
    comments.kept[1]["body"] += "an older plan"
    again = recipe(made, listener.url)
    assert (again.returncode, methods(listener)[2:]) == (0, ["GET", "PATCH"])
    assert "an older plan" not in comments.kept[1]["body"]
    assert comments.kept[0] == STRANGER
    assert TOKEN not in first.stdout + again.stdout


def test_the_comment_is_found_on_a_later_page(
    made: Path, github: tuple[Listener, Comments]
) -> None:
    listener, comments = github
    comments.kept += [{"id": i, "body": "talk"} for i in range(100, 225)]
    recipe(made, listener.url)
    assert methods(listener) == ["GET", "GET", "POST"]
    recipe(made, listener.url)
    assert methods(listener)[3:] == ["GET", "GET", "PATCH"]
    assert sum("interlock plan" in one["body"] for one in comments.kept) == 2


@pytest.mark.parametrize("environment", ["prod", "stagin"])
def test_what_is_refused_fails_and_says_why_in_the_same_comment(
    made: Path, github: tuple[Listener, Comments], environment: str
) -> None:
    listener, comments = github
    file = made / "features" / "origin_weather.sql"
    text = file.read_text()
    recipe(made, listener.url, INTERLOCK_ENV=environment)
    file.write_text(text.replace("ttl: 5h", "tttl: 5h <b>@team"))
    try:
        done = recipe(made, listener.url, INTERLOCK_ENV=environment)
    finally:
        file.write_text(text)
    assert done.returncode == 3
    assert methods(listener)[-1] == "PATCH"
    said = comments.kept[1]["body"]
    assert "did you mean ttl?" in said
    assert "<b>" not in said
    assert "@team" not in said


def test_a_fork_without_a_token_still_plans(made: Path, github: tuple[Listener, Comments]) -> None:
    listener, _ = github
    done = recipe(made, listener.url, GITHUB_TOKEN="")
    assert (done.returncode, listener.heard) == (0, [])
    assert "### Interlock" in done.stdout


def test_a_comment_that_cannot_be_posted_is_a_failure(
    made: Path, github: tuple[Listener, Comments]
) -> None:
    done = recipe(made, github[0].url, GITHUB_TOKEN="expired")
    assert done.returncode != 0
    assert "401" in done.stderr
    assert "expired" not in done.stdout + done.stderr


def test_the_workflow_runs_the_recipe_and_may_do_no_more(made: Path) -> None:
    text = (made / ".github" / "workflows" / "interlock-plan.yml").read_text()
    # YAML 1.1 reads the key `on` as true; GitHub does not.
    flow = yaml.safe_load(text.replace("\non:", "\n'on':"))
    assert set(flow) == {"name", "on", "permissions", "concurrency", "jobs"}
    assert set(flow["on"]) == {"pull_request"}, "pull_request_target would hand secrets to forks"
    assert flow["permissions"] == {"contents": "read", "pull-requests": "write"}
    (job,) = flow["jobs"].values()
    assert {"runs-on", "timeout-minutes", "steps"} == set(job)
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert set(step) <= {"name", "uses", "run", "with", "env"}
    run = job["steps"][-1]
    assert (made / run["run"].removeprefix("bash ")).is_file()
    wanted = {"GITHUB_TOKEN", "PR_NUMBER", "INTERLOCK_PROJECT", "INTERLOCK_ENV"}
    assert set(run["env"]) == wanted
    # What somebody wrote in a title or branch never becomes a part of a command.
    assert all("${{" not in step.get("run", "") for step in job["steps"])
