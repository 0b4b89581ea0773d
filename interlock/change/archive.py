"""Files in one archive whose every byte follows from their names and contents.

A zip that any tool opens: stored, sorted, without times. Reading it writes nothing to disk, and
takes only the bytes that writing the same files would give.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator, Mapping

from interlock.errors import Refused

_NEVER = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o100644 << 16
_UNIX = 3


def packed(files: Mapping[str, bytes]) -> bytes:
    """The archive of `files`, name -> content."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _NEVER)
            info.external_attr, info.create_system = _READABLE, _UNIX
            archive.writestr(info, files[name])
    return out.getvalue()


def unpacked(data: bytes) -> dict[str, bytes]:
    """The files of an archive; raises `Refused` with the reason for any other bytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            wrong = list(_against(archive.infolist(), len(data)))
            files = {} if wrong else {i.filename: archive.read(i) for i in archive.infolist()}
    except (zipfile.BadZipFile, struct.error, EOFError, OSError, ValueError) as error:
        raise _not(f"it is no whole archive: {error}") from error
    except (RuntimeError, OverflowError) as error:
        raise _not(f"it is written in a way that ours are not: {error}") from error
    if wrong:
        raise _not(*wrong)
    if packed(files) != data:
        raise _not("its bytes are not those that these files give: something was put in or edited")
    return files


def _against(infos: list[zipfile.ZipInfo], size: int) -> Iterator[str]:
    names = [info.filename for info in infos]
    for info in infos:
        name = info.filename
        if name.startswith(("/", "\\")) or ".." in name or "\\" in name or ":" in name:
            yield f"{name!r} names a file outside of it"
        if names.count(name) > 1:
            yield f"{name!r} is in it twice"
        if info.compress_type != zipfile.ZIP_STORED or not info.file_size <= size:
            yield f"{name!r} says it is larger than the archive"


def _not(*why: str) -> Refused:
    return Refused(
        "this archive cannot be trusted",
        help="ask whoever sent it to export it again: `interlock bundle CR-n --out FILE`",
        objections=why,
    )
