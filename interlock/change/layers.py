"""The order of proof: data, feature, model, integration, release.

What stands on a layer that has not passed proves nothing: its evidence does not count yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

Layer = Literal["data", "feature", "model", "integration", "release"]
LAYERS: tuple[Layer, ...] = get_args(Layer)

_OF_CHECK: Mapping[str, Layer] = {
    "contract": "data",
    "values": "feature",
    "replay": "feature",
    "missingness": "feature",
    "model_comparison": "model",
    "null_rehearsal": "model",
    "kpi": "integration",
}


def layer_of(check: str) -> Layer:
    """The layer that `check` proves; one that nobody has placed proves services together."""
    return _OF_CHECK.get(check.partition(":")[0], "integration")


def in_layer(layer: Layer, checks: Sequence[str]) -> tuple[str, ...]:
    return tuple(check for check in checks if layer_of(check) == layer)
