"""Policies looked at from outside: tested, replayed over the past, asked what is still missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType

from interlock.app.changes import held
from interlock.app.files import read_folder
from interlock.app.weighing import decisions, engine, policies_in, policies_of, standing
from interlock.app.workspace import Workspace
from interlock.change.cases import Tried, problems_of, silent, tried
from interlock.change.decision import Replayed, replay, still_needed
from interlock.change.policy import ACTIONS, principal
from interlock.change.ready import told_of
from interlock.define.digest import digest
from interlock.errors import Invalid, NotFound, Problem, Unusable
from interlock.ports import Json

EMPTY: Mapping[str, str] = MappingProxyType({})
# In the order of a change's life; the way back is not asked.
ASKED = ("propose", "approve", "waive", "schedule", "start", "advance", "commit")


@dataclass(frozen=True)
class Tests:
    """Every case that was tried, and the policies that no case has heard."""

    cases: tuple[Tried, ...]
    silent: tuple[str, ...]

    @property
    def failed(self) -> tuple[Problem, ...]:
        return problems_of(self.cases)

    def to_json(self) -> Json:
        return {
            "cases": [case.to_json() for case in self.cases],
            "failed": len(self.failed),
            "silent": list(self.silent),
        }


def run_tests(folder: Path, files: Sequence[Path] = ()) -> Tests:
    """The cases of `files`, or of `policies/tests/*.yaml`, put to the policies of the folder.

    Raises `Invalid` for a policy or a test file that cannot be read, `NotFound` without any.
    """
    return run_texts(about_policies(folder), given_texts(files))


def about_policies(folder: Path) -> dict[str, str]:
    """What a folder says of policies: they, and the cases they are tested by; by path."""
    patterns = ("policies/*.cedar", "policies/tests/*.yaml")
    texts = read_folder(folder)
    return {f: text for f, text in texts.items() if any(fnmatchcase(f, one) for one in patterns)}


def run_texts(texts: Mapping[str, str], files: Mapping[str, str] = EMPTY) -> Tests:
    """The same for texts by path, wherever they came from."""
    policies = {f: text for f, text in texts.items() if f.endswith(".cedar")}
    wanted = dict(files) or {f: text for f, text in texts.items() if f not in policies}
    if not wanted:
        raise NotFound("there are no policy tests", help="write policies/tests/change.yaml")
    asked = engine(policies)
    made = {file: tried(asked, file, text) for file, text in sorted(wanted.items())}
    wrong = [problem for _, problems in made.values() for problem in problems]
    if wrong:
        raise Invalid.of(wrong)
    cases = {file: found for file, (found, _) in made.items()}
    every = tuple(case for many in cases.values() for case in many)
    return Tests(every, silent(asked.ids, cases) if not files else ())


def given_texts(files: Sequence[Path]) -> dict[str, str]:
    try:
        return {str(file): file.read_text(encoding="utf-8-sig") for file in files}
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"a test file cannot be read: {error}", help="name YAML files") from error


@dataclass(frozen=True)
class Replays:
    """The past under other policies: how many decisions were `asked` again, and which differ.

    `same` says that they are the policies that decided last.
    """

    asked: int
    differing: tuple[Replayed, ...]
    same: bool

    def to_json(self) -> Json:
        return {
            "asked": self.asked,
            "same_policies": self.same,
            "differing": [one.to_json() for one in self.differing],
        }


def replay_decisions(workspace: Workspace, folder: Path | None = None) -> Replays:
    """Every kept decision, asked again of the policies in `folder` (default: the project's)."""
    return replay_under(workspace, policies_in(folder or workspace.folder / "policies"))


def replay_under(workspace: Workspace, policies: Mapping[str, str]) -> Replays:
    """The same under policies by name, wherever they came from."""
    made = decisions(workspace)
    asked = replay(engine(policies), made)
    same = bool(made) and digest(dict(policies)) == max(made, key=lambda one: one.at).policies
    return Replays(len(asked), tuple(one for one in asked if one.differs), same)


@dataclass(frozen=True)
class Lacking:
    """One action: what policies say now, and the facts that must change. None: nothing helps."""

    action: str
    said: tuple[str, ...]
    needs: tuple[str, ...] | None

    def to_json(self) -> Json:
        needs = None if self.needs is None else list(self.needs)
        return {"action": self.action, "says": list(self.said), "needs": needs}


@dataclass(frozen=True)
class Explained:
    """What each action still lacks in the eyes of the policies, for one person."""

    change: str
    by: str
    actions: tuple[Lacking, ...]
    facts: Json

    def to_json(self) -> Json:
        return {
            "change": self.change, "by": self.by, "facts": self.facts,
            "actions": [one.to_json() for one in self.actions],
        }  # fmt: skip


def explain(workspace: Workspace, id: str, by: str, action: str = "") -> Explained:
    """What must still become true before policies allow each action on a change.

    Found by putting the question with facts turned one by one, so it holds for whatever the
    policies say. Raises `Unusable` for an action that does not exist.
    """
    if action and action not in ACTIONS:
        raise Unusable(f"no action {action}", help=f"actions: {', '.join(sorted(ACTIONS))}")
    change = held(workspace.record, id).change
    there = standing(workspace, change)
    asked = engine(policies_of(workspace, change).policies)
    who, told = principal(there.owners, by, there.privacy), told_of(change, there)
    found = tuple(
        Lacking(name, asked.decide(who, name, told), still_needed(asked, who, name, told))
        for name in ((action,) if action else ASKED)
    )
    return Explained(id, by, found, told)
