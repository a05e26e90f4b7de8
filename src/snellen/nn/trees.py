"""Sums of decision trees as tensors: all trees test one node each, level by level.

Source: Breiman, Friedman, Olshen and Stone 1984; the decisions are those of scikit-learn's trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from snellen.core.errors import DataError
from snellen.core.spec import Input
from snellen.nn.layers import Standardize

BATCH_SIZE = 256  # rows that descend at once, to bound memory


class Tree(NamedTuple):
    """A decision tree of N nodes as scikit-learn stores it: parents before their children, the root first.

    feature, left, right: (N,) integers; left and right are not used of leaves. threshold: (N,) float64; a row goes to
    the left if its value is at most the threshold. missing_left: (N,), where a missing value goes. is_leaf: (N,).
    value: (N, V), used of leaves.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    is_leaf: np.ndarray
    value: np.ndarray


class TreeEnsemble(nn.Module):
    """Sum of decision trees over numbers.

    The roots are the first nodes, and the right child of a node follows its left child.

    feature: (N,) int32, the column of the test, plus `inputs` where missing values go to the right. threshold: (N,), a
    row goes to the right if its value is above. child: (N,) int32, the left child; of a leaf the leaf itself.
    value: (N, V), used of leaves. base: (K,) float64, added to the sum.

    Args:
        inputs: number of columns D.
        outputs: K. With V = 1 tree k adds to output k mod K; otherwise V is K.
        dtype: of the thresholds and of the comparisons.
        value: an empty (0, V) tensor in the dtype of the values.
    """

    variable_length = ("feature", "threshold", "child", "value")
    feature: Tensor
    threshold: Tensor
    child: Tensor
    value: Tensor
    base: Tensor

    def __init__(self, inputs: int, outputs: int, dtype: torch.dtype, value: Tensor) -> None:
        super().__init__()
        self.inputs = inputs
        self.outputs = outputs
        self.register_buffer("feature", torch.empty(0, dtype=torch.int32))
        self.register_buffer("threshold", torch.empty(0, dtype=dtype))
        self.register_buffer("child", torch.empty(0, dtype=torch.int32))
        self.register_buffer("value", value)
        self.register_buffer("base", torch.zeros(outputs, dtype=torch.float64))
        self.trees = self.levels = 0
        self.register_load_state_dict_post_hook(TreeEnsemble._loaded)  # type: ignore[no-untyped-call]

    @property
    def rounds(self) -> int:
        """Number of trees of each output."""
        return self.trees * self.value.shape[1] // self.outputs

    @property
    def comparisons(self) -> int:
        """Comparisons for one sample: every tree descends as many levels as the deepest."""
        return self.trees * self.levels

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) to (B, K) float64."""
        parts = (x,) if torch.compiler.is_exporting() else torch.split(x, BATCH_SIZE)
        return torch.cat([self.contributions(part).sum(1) for part in parts]) + self.base

    def contributions(self, x: Tensor) -> Tensor:
        """Values of the leaves, (B, D) to (B, rounds, K) float64."""
        values = self.value.index_select(0, self._leaves(x)).double()  # (B · trees, V)
        return values.reshape(x.shape[0], self.rounds, self.outputs)

    def _leaves(self, x: Tensor) -> Tensor:
        """The leaf of each row in each tree, (B · trees,) int32."""
        x = x.flatten(1).to(self.threshold.dtype)
        missing = torch.isnan(x)
        # Every column twice, with missing values below and above all thresholds.
        x = torch.cat([x.masked_fill(missing, -torch.inf), x.masked_fill(missing, torch.inf)], dim=1)  # (B, 2 D)
        row = torch.arange(x.shape[0], dtype=torch.int32, device=x.device)[:, None]
        start = (row * x.shape[1]).expand(-1, self.trees).flatten()  # of each row in the flattened inputs
        node = torch.arange(self.trees, dtype=torch.int32, device=x.device).expand(x.shape[0], -1).flatten()
        inputs = x.flatten()
        for _ in range(self.levels):
            tested = inputs.index_select(0, start + self.feature.index_select(0, node))
            is_above = tested > self.threshold.index_select(0, node)
            node = self.child.index_select(0, node) + is_above
        return node

    def set_trees(self, trees: Sequence[Tree]) -> None:
        """Replace all trees; those of one round follow each other in the order of the outputs."""
        sizes = np.array([len(tree.feature) for tree in trees])
        inner = [np.nonzero(~tree.is_leaf)[0] for tree in trees]
        pairs = np.cumsum([0, *map(len, inner)])
        count = int(sizes.sum())
        feature, child = np.zeros(count, dtype=np.int32), np.arange(count, dtype=np.int32)
        threshold = np.full(count, np.inf)  # no value is above that of a leaf, so that it is not left
        value = np.zeros((count, self.value.shape[1]))
        for k, tree in enumerate(trees):
            place = np.full(sizes[k], k)  # of each node; the root stays at k
            first = len(trees) + 2 * (pairs[k] + np.arange(len(inner[k])))
            place[tree.left[inner[k]]] = first
            place[tree.right[inner[k]]] = first + 1
            parents = place[inner[k]]
            child[parents] = first
            feature[parents] = tree.feature[inner[k]] + self.inputs * ~tree.missing_left[inner[k]]
            threshold[parents] = np.minimum(tree.threshold[inner[k]], np.finfo(np.float64).max)
            value[place] = tree.value
        self.feature, self.child = torch.from_numpy(feature), torch.from_numpy(child)
        self.threshold = round_down(torch.from_numpy(threshold), self.threshold.dtype)
        self.value = torch.from_numpy(value).to(self.value.dtype)
        self._prepare()

    def _loaded(self, _: object) -> None:
        self._prepare()

    def _prepare(self) -> None:
        """Count trees and levels. Raises DataError for nodes that are no trees, such as those of a planted file."""
        if self.child.is_meta or not len(self.child):
            self.trees = self.levels = 0
            return
        child, node = self.child.long().cpu(), torch.arange(len(self.child))
        is_inner = child != node
        left = child[is_inner]
        self.trees = len(child) - 2 * len(left)
        are_trees = (
            bool((left > node[is_inner]).all())  # so that no path returns to its start
            and torch.equal(torch.cat([left, left + 1]).sort().values, node[max(self.trees, 0) :])
            and bool(((self.feature >= 0) & (self.feature < 2 * self.inputs)).all())
            and self.trees * self.value.shape[1] % self.outputs == 0
        )
        if not are_trees:
            raise DataError(
                "The weights are no decision trees: a node has a wrong child or column",
                "Restore the file, or train again.",
            )
        self.levels, level = 0, torch.arange(self.trees)
        while len(level := level[is_inner[level]]):
            level = torch.cat([child[level], child[level] + 1])
            self.levels += 1


class Forest(nn.Module):
    """Mean of decision trees that compare float32 numbers, as scikit-learn's random forests do.

    standardize: of float64 columns, where float32 would not resolve them.

    Args:
        outputs: number of classes or targets K.
        dtype: of the values.
    """

    def __init__(self, input: Input, outputs: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.standardize = Standardize(input) if input.dtype == "float64" else nn.Identity()
        self.trees = TreeEnsemble(input.shape[0] or 1, outputs, torch.float32, torch.empty(0, outputs, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) raw inputs to (B, K) float64."""
        y: Tensor = self.trees(self.standardize(x))
        return y


def round_down(threshold: Tensor, dtype: torch.dtype) -> Tensor:
    """The largest numbers of `dtype` that are not above (N,) float64 thresholds; infinity stays.

    A number of this type is above the result if and only if it is above the threshold.
    """
    rounded = threshold.to(dtype)
    lower = torch.nextafter(rounded, rounded.new_tensor(-torch.inf))
    return torch.where(rounded.double() > threshold, lower, rounded)


def leaf_only(width: int) -> Tree:
    """Tree of one leaf that adds zero to each of `width` values."""
    zero, one = np.zeros(1, dtype=np.int64), np.ones(1, dtype=bool)
    return Tree(zero, np.zeros(1), zero, zero, one, one, np.zeros((1, width)))


def boosting_rounds(estimator: Any) -> list[list[Tree]]:
    """Trees of scikit-learn's HistGradientBoosting: for each iteration one tree, or one for each class of several."""
    return [
        [
            Tree(
                feature=nodes["feature_idx"],
                threshold=nodes["num_threshold"],
                left=nodes["left"],
                right=nodes["right"],
                missing_left=nodes["missing_go_to_left"].astype(bool),
                is_leaf=nodes["is_leaf"].astype(bool),
                value=nodes["value"][:, None],
            )
            for nodes in (predictor.nodes for predictor in iteration)
        ]
        for iteration in estimator._predictors
    ]


def boosting_base(estimator: Any) -> Tensor:
    """Constant that scikit-learn's HistGradientBoosting begins with, for each tree of an iteration, float64."""
    return torch.from_numpy(np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1).copy())


def forest_trees(estimator: Any, outputs: int) -> list[Tree]:
    """Trees of scikit-learn's random forest; their sum is its prediction, numbers or class fractions, (N, outputs).

    A classifier has columns for its classes only, which are numbers of outputs.
    """
    columns = getattr(estimator, "classes_", np.arange(outputs))
    trees = []
    for tree in (one.tree_ for one in estimator.estimators_):
        value = np.zeros((len(tree.feature), outputs))
        value[:, columns] = tree.value.reshape(len(value), -1) / len(estimator.estimators_)
        trees.append(
            Tree(
                feature=tree.feature,
                threshold=tree.threshold,
                left=tree.children_left,
                right=tree.children_right,
                missing_left=tree.missing_go_to_left.astype(bool),
                is_leaf=tree.children_left == -1,
                value=value,
            )
        )
    return trees
