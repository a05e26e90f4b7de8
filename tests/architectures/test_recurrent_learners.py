"""Recurrent networks as learners: the view of gradients, the suggested forget bias, settings."""

from __future__ import annotations

import pytest
import torch

from snellen.architectures import ARCHITECTURES
from snellen.architectures.recurrent_views import gradient_views
from snellen.core.settings import flatten
from snellen.core.spec import Classes, Input, Spec
from snellen.core.views import Plot
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.nn.recurrent import RNN


def test_the_view_draws_a_gradient_for_each_lag_and_none_of_other_networks() -> None:
    torch.manual_seed(0)
    standardize = Standardize(Input(modality="sequence", shape=(None, 2)))
    x = torch.randn(5, 12, 2)
    x[1:, 9:] = torch.nan
    (view,) = gradient_views(Network(standardize, RNN(2, 4, 1, 3)).eval(), x)
    assert isinstance(view, Plot)
    assert view.log_y
    (series,) = view.series
    assert list(series.x) == list(range(12))
    assert all(value is not None and value > 0 for value in series.y)
    assert gradient_views(Network(standardize, torch.nn.Identity()), x) == []


def spec(steps: int | None) -> Spec:
    inputs = {"sequence": Input(modality="sequence", shape=(steps, 2))}
    return Spec(name="x", inputs=inputs, target=Classes(names=("a", "b")), sizes={"train": 6000})


@pytest.mark.parametrize(("steps", "expected"), [(None, None), (20, None), (101, 4.6), (1001, 6.9)])
def test_forget_gates_of_long_sequences_are_more_open(steps: int | None, expected: float | None) -> None:
    suggestion = ARCHITECTURES["lstm"].suggestions(spec(steps)).get("forget_bias")
    assert (suggestion.value if suggestion else None) == expected


def test_inherited_settings_have_their_help_texts() -> None:
    for name in ("rnn", "lstm"):
        settings = {setting.name: setting for setting in flatten(ARCHITECTURES[name].settings)}
        assert all(setting.help for setting in settings.values())
        assert settings["hidden_size"].help == "Units of the state."
