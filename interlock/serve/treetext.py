"""Is this text a whole LightGBM model? Asked before the library sees it.

The library parses trees in parallel and ends the process when one is damaged, and a
node number outside its tree would be read out of bounds. So every size, length and
index that it relies on is checked here first.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.errors import Corrupt, Unusable

_PER_SPLIT = (
    "split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child",
    "internal_value", "internal_weight", "internal_count",
)  # fmt: skip
_PER_LEAF = ("leaf_value", "leaf_weight", "leaf_count")
_KNOWN = {
    *_PER_SPLIT, *_PER_LEAF, "Tree", "num_leaves", "num_cat", "cat_boundaries",
    "cat_threshold", "is_linear", "shrinkage",
}  # fmt: skip


def check_model_text(data: bytes) -> None:
    """Raise `Corrupt` naming the first thing that is wrong, `Unusable` for a kind not served."""
    start = data.find(b"\nTree=0\n") + 1
    if not data.startswith(b"tree\n") or not start:
        raise Corrupt("the artifact is not a LightGBM model in text form")
    header = _fields(data[:start])
    if _integers(header, "num_class", 1) != [1]:
        raise Unusable("the model gives more than one number per row")
    features = _integers(header, "max_feature_idx", 1)[0] + 1
    for number, size in enumerate(_integers(header, "tree_sizes")):
        block = data[start : start + size]
        if len(block) != size or not block.startswith(b"Tree=%d\n" % number):
            raise Corrupt(f"tree {number} is not where the model's header says")
        _check_tree(number, _fields(block), features)
        start += size
    if not data[start:].startswith(b"end of trees"):
        raise Corrupt("the model does not end where its header says")


def _fields(block: bytes) -> dict[str, str]:
    try:
        lines = block.decode().splitlines()
    except UnicodeDecodeError as error:
        raise Corrupt("the model is not text") from error
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _number(text: str) -> float:
    if "_" in text:  # Python reads 1_0 as ten, the library does not
        raise ValueError(text)
    return float(text)


def _whole(text: str) -> int:
    if "_" in text or not -(2**31) <= int(text) < 2**32:
        raise ValueError(text)
    return int(text)


def _integers(fields: Mapping[str, str], name: str, count: int | None = None) -> list[int]:
    try:
        found = list(map(_whole, fields[name].split()))
    except (KeyError, ValueError) as error:
        raise Corrupt(f"the model's `{name}` is missing or damaged") from error
    if count is not None and len(found) != count:
        raise Corrupt(f"the model's `{name}` has {len(found)} values, not {count}")
    return found


def _numbers(fields: Mapping[str, str], name: str, count: int) -> None:
    try:
        found = list(map(_number, fields[name].split()))
    except (KeyError, ValueError) as error:
        raise Corrupt(f"the model's `{name}` is missing or damaged") from error
    if len(found) != count:
        raise Corrupt(f"the model's `{name}` has {len(found)} values, not {count}")


def _check_tree(number: int, tree: Mapping[str, str], features: int) -> None:
    if tree.get("is_linear", "0") != "0":
        raise Unusable("models with linear trees are not served")
    leaves = _integers(tree, "num_leaves", 1)[0]
    splits = leaves - 1
    if set(tree) - _KNOWN:
        raise Corrupt(f"tree {number} says what no tree says: {sorted(set(tree) - _KNOWN)[:3]}")
    _numbers(tree, "leaf_value", leaves)
    _numbers(tree, "shrinkage", 1)
    if leaves <= 1:
        return
    for name in _PER_SPLIT:
        _numbers(tree, name, splits)
    for name in _PER_LEAF:
        _numbers(tree, name, leaves)
    children = _integers(tree, "left_child") + _integers(tree, "right_child")
    # Every node but the root has exactly one parent; that also rules out circles.
    if sorted(children) != [*range(-leaves, 0), *range(1, splits)]:
        raise Corrupt(f"tree {number} has nodes that hang together wrongly")
    if any(parent >= child > 0 for parent, child in _edges(tree, splits)):
        raise Corrupt(f"tree {number} has a node before its parent")
    used = _integers(tree, "split_feature")
    if min(used) < 0 or max(used) >= features:
        raise Corrupt(f"tree {number} splits on an input the model does not have")
    _check_categories(number, tree)


def _edges(tree: Mapping[str, str], splits: int) -> list[tuple[int, int]]:
    left, right = _integers(tree, "left_child", splits), _integers(tree, "right_child", splits)
    return [*enumerate(left), *enumerate(right)]


def _check_categories(number: int, tree: Mapping[str, str]) -> None:
    count = _integers(tree, "num_cat", 1)[0]
    kinds = _integers(tree, "decision_type")
    coded = [i for i, kind in enumerate(kinds) if kind & 1]
    if not count and not coded:
        return
    bounds = _integers(tree, "cat_boundaries", count + 1)
    words = _integers(tree, "cat_threshold")
    if sorted(bounds) != bounds or bounds[0] != 0 or bounds[-1] != len(words):
        raise Corrupt(f"tree {number} has damaged category sets")
    thresholds = tree["threshold"].split()
    if any(not 0 <= float(thresholds[i]) < count for i in coded):
        raise Corrupt(f"tree {number} names a category set it does not have")
