"""The command line as its users meet it: arguments in, exit code and two streams out."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.cli.main import run


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The last line of standard error, as JSON."""
        return json.loads(self.err.splitlines()[-1])


@dataclass(frozen=True)
class Opened:
    """A project in which CR-1 was proposed by wei, and what proposing said."""

    folder: Path
    proposed: Done
    status: Mapping[str, Any]


def interlock(*arguments: object) -> Done:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run([str(one) for one in arguments])
        except SystemExit as ended:
            code = ended.code
    return Done(int(code or 0), out.getvalue(), err.getvalue())


def process(*arguments: object, **environment: str) -> Done:
    """Run a command as its own process."""
    ended = subprocess.run(
        [sys.executable, "-m", "interlock.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    return Done(ended.returncode, ended.stdout, ended.stderr)


def on_a_terminal(*arguments: object, columns: int = 80, **environment: str) -> str:
    """Everything a person would see; both streams are a real terminal."""
    ours, theirs = pty.openpty()
    seen = b""
    settings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), **environment}
    with subprocess.Popen(
        [sys.executable, "-m", "interlock.cli.main", *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=settings,
    ):
        os.close(theirs)
        # The end of a terminal whose last process left is an error on Linux.
        with contextlib.suppress(OSError):
            while part := os.read(ours, 65536):
                seen += part
    os.close(ours)
    return seen.decode().replace("\r\n", "\n")


def copy_of(project: Path, into: Path) -> Path:
    """A copy that may be changed."""
    shutil.copytree(project, into)
    return into


def edit(file: Path, old: str, new: str) -> None:
    """Replace the first `old`, which must be there."""
    text = file.read_text()
    assert old in text, f"{old!r} is not in {file}"
    file.write_text(text.replace(old, new, 1))


def contents(folder: Path) -> dict[str, str]:
    """Every path below `folder` and the digest of its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
    }
