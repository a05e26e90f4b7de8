"""The order of the worst errors: by the confidence of the wrong prediction, by the absolute error, then by sample."""

from __future__ import annotations

import torch

from snellen.core.spec import Input, Numbers, Spec
from snellen.tasks.classify.views import worst
from snellen.tasks.regress.task import worst as worst_numbers


def of_probabilities(rows: list[list[float]], truth: list[int], probabilistic: bool = True) -> list[int]:
    scores = torch.tensor(rows, dtype=torch.float64).log()
    return worst(
        {"scores": scores, "truth": torch.tensor(truth), "probabilistic": torch.tensor(probabilistic)}
    ).tolist()


def test_wrong_classes_are_ordered_by_their_probability_not_by_the_loss() -> None:
    # The loss of row 0 is the largest: its true class has a probability of 0.01.
    rows = [[0.01, 0.60, 0.39], [0.15, 0.80, 0.05], [0.90, 0.05, 0.05], [0.20, 0.10, 0.70]]
    assert of_probabilities(rows, [0, 0, 0, 0]) == [1, 3, 0]


def test_equal_probabilities_are_in_the_order_of_the_samples() -> None:
    assert of_probabilities([[0.2, 0.8]] * 50, [0] * 50) == list(range(24))


def test_probabilities_near_one_are_told_apart() -> None:
    scores = torch.tensor([[0.0, 40.0], [0.0, 60.0], [0.0, 50.0]])
    predictions = {"scores": scores, "truth": torch.zeros(3, dtype=torch.int64), "probabilistic": torch.tensor(True)}
    assert worst(predictions).tolist() == [1, 2, 0]


def test_scores_that_are_no_probabilities_are_ordered_by_margin() -> None:
    scores = torch.tensor([[0.0, 2.0, 1.9], [1.0, 2.5, 0.0], [-9.0, 2.0, 0.0]])
    predictions = {"scores": scores, "truth": torch.zeros(3, dtype=torch.int64), "probabilistic": torch.tensor(False)}
    assert worst(predictions).tolist() == [2, 0, 1]


def test_wrong_labels_are_ordered_by_the_most_confident_of_them() -> None:
    scores = torch.tensor([[2.0, -1.0], [0.5, 3.0], [-4.0, -9.0]])
    truth = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert worst({"scores": scores, "truth": truth, "probabilistic": torch.tensor(True)}).tolist() == [2, 0, 1]


def test_numbers_are_ordered_by_their_absolute_error() -> None:
    spec = Spec(
        name="a", inputs={"x": Input(modality="vector", shape=(1,))}, target=Numbers(names=("y",)), sizes={"test": 5}
    )
    truth = torch.tensor([[0.0], [10.0], [5.0], [5.0], [1.0]], dtype=torch.float64)
    predicted = torch.tensor([[1.0], [7.0], [6.0], [4.0], [1.0]], dtype=torch.float64)
    assert worst_numbers({"said": predicted, "truth": truth}, spec, 4).tolist() == [1, 0, 2, 3]
