"""Is this a whole XGBoost model? Asked before the library sees it.

The library follows node numbers without looking: one outside of its tree reads memory that is
not the model's, and ends the process. So what was checked is written anew, and only that is
given to it: what this module does not know never arrives there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import isfinite
from typing import Any

import orjson

from interlock.errors import Corrupt, Unusable

OBJECTIVES = ("binary:logistic", "reg:logistic", "reg:squarederror")
_INTS = (
    "left_children", "right_children", "parents", "split_indices", "split_type", "default_left",
)  # fmt: skip
_FLOATS = ("split_conditions", "base_weights", "loss_changes", "sum_hessian")
_EITHER = ("split_type", "default_left")
_SETS = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
_ROOT = 2**31 - 1  # what stands for the parent of a root
_MOST_CATEGORIES = 1 << 24  # the library keeps a category as a 32-bit float


def checked_model_json(data: bytes) -> tuple[bytes, int]:
    """The model in `data` as the library may read it, and how many inputs it takes.

    Raises `Corrupt` naming the first thing that is wrong, `Unusable` for a kind not served.
    """
    try:
        learner = orjson.loads(data)["learner"]
        booster = learner["gradient_booster"]
        if booster["name"] != "gbtree":
            raise Unusable(f"models of kind {booster['name']!r} are not served, only gbtree")
        inputs = _whole(learner["learner_model_param"]["num_feature"], 1)
        model = {
            "version": [3, 2, 0],
            "learner": {
                "attributes": {},
                "feature_names": [],
                "feature_types": [],
                "gradient_booster": {"name": "gbtree", "model": _trees(booster["model"], inputs)},
                "learner_model_param": _param(learner["learner_model_param"]),
                "objective": _objective(learner["objective"]),
            },
        }
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Corrupt(f"the artifact is not an XGBoost model as JSON: {error!r}") from error
    return orjson.dumps(model), inputs


def _param(said: Mapping[str, Any]) -> dict[str, str]:
    if _whole(said["num_class"]) > 1 or _whole(said["num_target"]) != 1:
        raise Unusable("the model gives more than one number per row")
    (base,) = map(_finite, str(said["base_score"]).strip("[]").split(","))
    return {
        "base_score": f"[{base!r}]", "boost_from_average": "1", "num_class": "0",
        "num_feature": said["num_feature"], "num_target": "1",
    }  # fmt: skip


def _objective(said: Mapping[str, Any]) -> dict[str, Any]:
    if said["name"] not in OBJECTIVES:
        raise Unusable(
            f"models with the objective {said['name']!r} are not served",
            help=f"train with one of {', '.join(OBJECTIVES)}",
        )
    return {"name": said["name"], "reg_loss_param": {"scale_pos_weight": "1"}}


def _trees(model: Mapping[str, Any], inputs: int) -> dict[str, Any]:
    if any(model.get("cats", {}).values()):
        raise Unusable(
            "the model holds the categories of a data frame",
            help="train it on the matrix that the train function is given",
        )
    trees = [_tree(number, tree, inputs) for number, tree in enumerate(model["trees"])]
    if _whole(model["gbtree_model_param"]["num_trees"]) != len(trees):
        raise Corrupt(f"the model has {len(trees)} trees, not what its header says")
    if any(model["tree_info"]):
        raise Unusable("the model gives more than one number per row")
    return {
        "cats": {"enc": [], "feature_segments": [], "sorted_idx": []},
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(trees))},
        "iteration_indptr": list(range(len(trees) + 1)),
        "tree_info": [0] * len(trees),
        "trees": trees,
    }


def _tree(number: int, tree: Mapping[str, Any], inputs: int) -> dict[str, Any]:
    param = tree["tree_param"]
    nodes = _whole(param["num_nodes"], 1)
    if _whole(param["size_leaf_vector"]) > 1:
        raise Unusable("the model gives more than one number per row")
    found: dict[str, list[Any]] = {name: _ints(tree[name]) for name in _INTS}
    found |= {name: _floats(tree[name]) for name in _FLOATS}
    if odd := [name for name, values in found.items() if len(values) != nodes]:
        raise Corrupt(f"tree {number} has {nodes} nodes and other numbers of {', '.join(odd)}")
    reached = _reached(number, found, nodes)
    if any(not 0 <= found["split_indices"][node] < inputs for node in reached):
        raise Corrupt(f"tree {number} splits on an input the model does not have")
    if any(found[name][node] not in (0, 1) for name in _EITHER for node in reached):
        raise Corrupt(f"tree {number} has a node of a kind nobody knows")
    sets = _sets_of(number, {name: _ints(tree[name]) for name in _SETS}, nodes)
    asked = {node for node in reached if found["split_type"][node] and not _leaf(found, node)}
    if not asked <= set(sets):
        raise Corrupt(f"tree {number} names a category set it does not have")
    told = {"num_deleted": "0", "num_feature": str(inputs), "size_leaf_vector": "1"}
    return {
        **_renumbered(found, reached),
        **_laid([(place, sets[node]) for place, node in enumerate(reached) if node in asked]),
        "id": number,
        "tree_param": {**told, "num_nodes": str(len(reached))},
    }


def _leaf(tree: Mapping[str, Sequence[int]], node: int) -> bool:
    return tree["left_children"][node] == tree["right_children"][node] == -1


def _reached(number: int, tree: Mapping[str, Sequence[int]], nodes: int) -> list[int]:
    """The nodes that hang on the root, in their order; what was pruned away hangs nowhere."""
    reached = [0]
    for node in reached:
        if _leaf(tree, node):
            continue
        left, right = tree["left_children"][node], tree["right_children"][node]
        if not (node < left < nodes and node < right < nodes):
            raise Corrupt(f"tree {number} has a node that is not behind its parent")
        reached += (left, right)
        if len(reached) > nodes:
            break
    if len(set(reached)) != len(reached):
        raise Corrupt(f"tree {number} has nodes that hang together wrongly")
    return sorted(reached)


def _renumbered(tree: Mapping[str, Sequence[Any]], reached: Sequence[int]) -> dict[str, Any]:
    """The tree without what was pruned away: the library counts that, and must find it so."""
    new = {-1: -1, **{old: place for place, old in enumerate(reached)}}
    kept = {name: [values[node] for node in reached] for name, values in tree.items()}
    for side in ("left_children", "right_children"):
        kept[side] = [new[child] for child in kept[side]]
    pairs = zip(kept["left_children"], kept["right_children"], strict=True)
    above = {child: place for place, pair in enumerate(pairs) for child in pair}
    kept["parents"] = [above.get(place, _ROOT) for place in range(len(reached))]
    return kept


def _sets_of(number: int, said: Mapping[str, list[int]], nodes: int) -> dict[int, list[int]]:
    """The categories of each node that asks for some."""
    one_each = zip(
        said["categories_nodes"], said["categories_segments"], said["categories_sizes"], strict=True
    )
    found = {}
    for node, start, size in one_each:
        held = said["categories"][start : start + size] if start >= 0 else []
        whole = 0 < size == len(held) and all(0 <= one < _MOST_CATEGORIES for one in held)
        if not whole or not 0 <= node < nodes:
            raise Corrupt(f"tree {number} has damaged category sets")
        found[node] = held
    return found


def _laid(sets: Sequence[tuple[int, list[int]]]) -> dict[str, list[int]]:
    sizes = [len(held) for _, held in sets]
    return {
        "categories": [one for _, held in sets for one in held],
        "categories_nodes": [node for node, _ in sets],
        "categories_segments": [*accumulate(sizes, initial=0)][: len(sizes)],
        "categories_sizes": sizes,
    }


def _whole(text: str, least: int = 0) -> int:
    found = int(text)
    if str(found) != text or not least <= found < 2**31:
        raise ValueError(text)
    return found


def _finite(text: str) -> float:
    if not isfinite(found := float(text)):
        raise ValueError(text)
    return found


def _ints(said: Sequence[int]) -> list[int]:
    found = list(said)
    if any(type(one) is not int or not -(2**31) <= one < 2**31 for one in found):
        raise ValueError("a list of whole numbers holds something else")
    return found


def _floats(said: Sequence[float]) -> list[float]:
    found = [float(one) for one in said]
    if any(not abs(one) < 3.4e38 for one in found):
        raise ValueError("a list of numbers holds one that is not finite")
    return found
