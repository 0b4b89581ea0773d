"""Whole files in a folder of an object store, by Arrow's filesystems: `s3://`, `gs://`, `file://`.

Who may write there is not in the address: Arrow asks the machine, as the tools of that store do.
A file appears under its name only when all of it is there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.errors import Unavailable

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


class ObjectFolder:
    """The files directly under `name` in the folder at `url`."""

    def __init__(self, url: str, name: str) -> None:
        from pyarrow.fs import FileSystem

        self._where = f"{url.partition('?')[0].rstrip('/')}/{name}"  # options may hold secrets
        with self._errors():
            self._system: FileSystem
            self._system, folder = FileSystem.from_uri(url)
        self._folder = f"{folder.rstrip('/')}/{name}"

    def sizes(self) -> Mapping[str, int]:
        """Every file by its name, and its bytes."""
        from pyarrow.fs import FileSelector

        with self._errors():
            found = self._system.get_file_info(FileSelector(self._folder, allow_not_found=True))
            if not found:
                self._check()
        return {one.base_name: one.size for one in found if one.is_file}

    def _check(self) -> None:
        """Nothing is there yet, or no such bucket: the one must not look like the other."""
        from pyarrow.fs import FileType

        bucket = self._folder.partition("/")[0]
        if self._system.type_name == "local":
            return
        if self._system.get_file_info(bucket).type == FileType.NotFound:
            raise OSError(f"there is no bucket {bucket}")

    def put(self, file: Path) -> None:
        """`file` under its own name; raises `Unavailable` unless all of it is there."""
        data, target = file.read_bytes(), f"{self._folder}/{file.name}"
        with self._errors():
            if self._system.type_name == "local":
                _write_aside(Path(target), data)
            else:
                # An object is there when its stream is closed; a writer that dies leaves none.
                with self._system.open_output_stream(target) as stream:
                    stream.write(data)
            kept = self._system.get_file_info(target).size
            if kept != len(data):
                raise OSError(f"{kept} of {len(data)} bytes of {file.name} were kept")

    def open(self, name: str) -> Any:
        """The file, to be read at any place; raises `Unavailable` when it cannot be had."""
        with self._errors():
            return self._system.open_input_file(f"{self._folder}/{name}")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"the files at {self._where} cannot be read or written: {error}",
                help="is the address right, the store there, and may this machine use it?",
            ) from error


def _write_aside(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{target.name}.new")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(target)
