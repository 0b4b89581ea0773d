"""Who may see what: masks by classification or by column, and who is cleared of them.

Nothing declared is the careful answer: sensitive columns are redacted for everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Classification = Literal["public", "internal", "sensitive"]
Hidden = Literal["internal", "sensitive"]
LEVELS: tuple[Classification, ...] = ("public", "internal", "sensitive")
ColumnName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")
]
Variable = Annotated[str, StringConstraints(pattern=r"^\$\{\w+\}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mask(_Part):
    """How a value is shown to somebody who is not cleared.

    `hash`: HMAC-SHA256 under the project's key, so equal stays equal. `redact`: a word in its
    place. `bucket`: the lower end of its bucket, of equal `width` (of a date: in days) or
    between `edges`. `null`: nothing. `aggregates: clear` lets counts, sums and means over
    groups be shown, which is the owner's word that groups are large enough.
    """

    mask: Literal["hash", "redact", "bucket", "null"]
    width: float | None = Field(default=None, gt=0)
    edges: tuple[float, ...] = ()
    aggregates: Literal["masked", "clear"] = "masked"

    @model_validator(mode="after")
    def _one_way_to_bucket(self) -> Mask:
        if (self.mask == "bucket") != (self.width is not None or bool(self.edges)):
            raise ValueError("`bucket` needs width or edges, and the other masks have neither")
        if self.width is not None and self.edges:
            raise ValueError("width and edges say the same thing twice")
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError("edges must grow")
        return self


REDACT = Mask(mask="redact")


class Privacy(_Part):
    """Masks and clearance. A mask of a column counts before the one of its classification.

    `clearance` maps a person or a role to the highest classification they may see clear.
    `key` names the variable that holds the key of `hash`; it never stands in a file.
    """

    key: Variable | None = None
    masks: Mapping[Hidden, Mask] = Field(default_factory=dict)
    columns: Mapping[ColumnName, Mask] = Field(default_factory=dict)
    clearance: Mapping[str, Classification] = Field(default_factory=dict)

    def mask_of(self, column: str, classification: Classification) -> Mask | None:
        """The mask of `schema.table.column` by its own declaration; None: anybody may see it."""
        if column in self.columns:
            return self.columns[column]
        if classification == "public":
            return None
        careful = REDACT if classification == "sensitive" else None
        return self.masks.get(classification, careful)

    def cleared(self, person: str, roles: frozenset[str]) -> Classification:
        """The highest classification that `person`, holding `roles`, may see."""
        held = [self.clearance[who] for who in (person, *roles) if who in self.clearance]
        return max(held, key=LEVELS.index, default="public")
