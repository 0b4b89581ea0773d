"""Addresses of engines, as an environment declares them; `${VAR}` stands for a secret."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

StoreAddress = Annotated[
    str, StringConstraints(pattern=r"^(\$\{\w+\}|(lmdb|rediss?|valkeys?|unix)://)")
]
WarehouseAddress = Annotated[
    str,
    StringConstraints(pattern=r"^(\$\{\w+\}|(duckdb|postgres(ql)?|spark)://|spark:local)"),
]
RecordAddress = Annotated[
    str, StringConstraints(pattern=r"^(\$\{\w+\}|sqlite://|postgres(ql)?://)")
]
LogAddress = Annotated[str, StringConstraints(pattern=r"^(\$\{\w+\}|(s3|gs|file)://)")]
Secret = Annotated[str, StringConstraints(pattern=r"^\$\{\w+\}$")]
