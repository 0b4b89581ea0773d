"""What every definition has in common: its manners, its names, and where it was declared."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
TableName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")]


class Definition(BaseModel):
    """Common manners: immutable, no unknown keys. `file` and `line` say where it was declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Declared(Definition):
    """A top-level definition: one file each."""

    file: str = Field(default="", exclude=True)
    line: int = Field(default=1, exclude=True)
    description: str = ""
    owner: str
