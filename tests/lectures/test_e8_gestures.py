"""E8, gestures from several inputs: what each input tells, early and late fusion, missing inputs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import snellen
from snellen.api import RunOptions
from snellen.core.errors import UsageError
from snellen.core.several_tensors import SeveralTensors
from snellen.core.spec import Input
from snellen.core.views import Table
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.data.several_inputs import SeveralInputs
from snellen.data.synthetic import gestures
from snellen.nn.fusion import EarlyFusion, Fusion, SeveralStandardize, drop_inputs
from snellen.nn.layers import Standardize
from snellen.report.missing_inputs import missing_input_views, without_inputs

CLASSES = gestures.CLASSES


def of_class(name: str) -> gestures.Motions:
    """The same draws as gestures of a class."""
    return gestures.move(torch.full((40,), CLASSES.index(name)), torch.Generator().manual_seed(0))


def test_e8_each_input_tells_one_pair_of_gestures_and_shows_nothing_of_the_others() -> None:
    """Of equal draws: joints differ between twists only, nearness between push and pull, the hand in grasp, release."""
    twists = of_class("twist-left"), of_class("twist-right")
    others = [of_class(name) for name in CLASSES[:4]]
    for motion in others[1:]:
        torch.testing.assert_close(motion.joints, others[0].joints, rtol=0, atol=0)
    assert not torch.equal(twists[0].joints, twists[1].joints)
    torch.testing.assert_close(twists[0].joints[:, :, :4], others[0].joints[:, :, :4], rtol=0, atol=0)
    still = [of_class(name) for name in CLASSES[2:]]
    for motion in still:
        assert float((motion.nearness - motion.nearness[:, :1]).abs().max()) == 0
    push, pull = others[0].nearness, others[1].nearness
    torch.testing.assert_close(push - push[:, :1], pull[:, :1] - pull)
    assert bool((push[:, -1] > push[:, 0] + 50).all())
    grasp, release = others[2].hand, others[3].hand
    torch.testing.assert_close(grasp, release.amin() + release.amax() - release)
    assert all(float((of_class(n).hand.std(1)).max()) == 0 for n in ("push", "pull", "twist-left", "twist-right"))


def test_e8_the_depth_camera_sees_the_palm_and_the_mask_the_whole_hand() -> None:
    motion = of_class("push")
    wide = motion._replace(hand=torch.full_like(motion.hand, 0.32))
    narrow = motion._replace(hand=torch.full_like(motion.hand, 0.17))
    nothing = torch.zeros(40, gestures.STEPS, 3)
    (depth, mask), (same, less) = (
        gestures.render(one, nothing, torch.Generator().manual_seed(1)) for one in (wide, narrow)
    )
    assert torch.equal(depth, same)
    assert int((mask > 0).sum()) > int((less > 0).sum())
    area = (mask > 0).double().mean() - (less > 0).double().mean()  # of the ring, in images of area 4, without bones
    assert 0 < float(area) < np.pi * (0.32**2 - 0.17**2) / 4


def test_e8_some_samples_lack_one_input() -> None:
    raw = gestures.gestures(0)
    assert isinstance(raw.source, SeveralInputs)
    present = np.stack([at >= 0 for at in raw.source.positions.values()])
    assert set(present.sum(0).tolist()) == {2, 3}
    assert (present.sum(0) == 2).mean() == pytest.approx(gestures.MISSING, abs=0.05)


class Sum(nn.Module):
    """An encoder whose one feature is the sum of the values."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).sum(1, keepdim=True)


def early() -> EarlyFusion:
    track, clip = Input(modality="sequence", shape=(4, 2)), Input(modality="clip", shape=(4, 1, 2, 2))
    row = Input(modality="vector", shape=(1,))
    torch.manual_seed(0)
    inputs = {"track": Standardize(track), "clip": Standardize(clip), "row": Standardize(row)}
    network = EarlyFusion(SeveralStandardize(inputs), [Sum(), Sum(), Sum()], (True, True, False), 1, 5, 3, 0.0)
    nn.init.normal_(network.missing)
    for standardize in network.standardize.inputs:
        assert isinstance(standardize, Standardize)
        standardize.high.fill_(100.0)  # clips of float values are clamped to their range
        standardize.low.fill_(-100.0)
    return network.eval()


def batch() -> SeveralTensors:
    torch.manual_seed(1)
    track, clip, row = torch.randn(4, 4, 2), torch.randn(4, 4, 1, 2, 2), torch.randn(4, 1)
    track[0, 2:] = torch.nan  # ends after two steps
    track[1], clip[2], row[3] = torch.nan, torch.nan, torch.nan
    return SeveralTensors({"track": track, "clip": clip, "row": row})


def test_e8_early_fusion_is_the_gru_of_the_concatenated_steps() -> None:
    network, x = early(), batch()
    missing = network.missing.detach()
    steps = torch.zeros(4, 4, 3)
    for b in range(4):
        for t in range(4):
            for k, name in enumerate(x.tensors):
                values = x.tensors[name][b] if name == "row" else x.tensors[name][b, t]
                lacks = bool(values.isnan().any())
                steps[b, t, k] = missing[k, 0] if lacks else values.sum().clamp(min=0)
    states, _ = network.network.recurrent(steps)
    torch.testing.assert_close(network(x), network.network.head(states[:, -1]), rtol=1e-5, atol=1e-6)


def test_e8_early_fusion_does_not_read_an_input_that_is_dropped_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = early().train(), batch()
    network.modality_dropout = 0.5
    for k, name in enumerate(("track", "clip", "row")):
        dropped = torch.zeros(3, 4, dtype=torch.bool)
        dropped[k] = True
        monkeypatch.setattr("snellen.nn.fusion.drop_inputs", lambda absent, _, also=dropped: absent | also)
        other = SeveralTensors({**x.tensors, name: x.tensors[name] * 2 + 1})
        assert torch.equal(network(x), network(other)), name


def test_e8_steps_after_the_end_of_all_inputs_change_nothing() -> None:
    network, x = early(), batch()
    longer = SeveralTensors(
        {
            "track": torch.cat([x.tensors["track"], torch.full((4, 3, 2), torch.nan)], 1),
            "clip": x.tensors["clip"],
            "row": x.tensors["row"],
        }
    )
    torch.testing.assert_close(network(longer), network(x), rtol=0, atol=0)


def test_e8_gradients_are_finite_where_inputs_and_steps_are_missing() -> None:
    network, x = early().train(), batch()
    network(x).square().sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in network.parameters())
    assert bool((network.missing.grad != 0).all())  # type: ignore[union-attr]


def test_e8_modality_dropout_drops_each_input_equally_and_leaves_one() -> None:
    torch.manual_seed(0)
    absent = torch.zeros(3, 20_000, dtype=torch.bool)
    absent[0, ::2] = True
    dropped = drop_inputs(absent, 0.3)
    assert not bool(dropped.all(0).any())
    assert bool((dropped | ~absent).all())
    # of samples with three inputs: 0.3, less the 0.3³ that would lose all and keep theirs
    assert float(dropped[:, 1::2].double().mean()) == pytest.approx(0.3 - 0.3**3, abs=0.01)
    assert float(dropped[1:, ::2].double().mean()) == pytest.approx(0.3 - 0.3**2, abs=0.01)


def test_e8_late_fusion_does_not_drop_inputs_in_evaluation() -> None:
    x = batch()
    inputs = {"row": Standardize(Input(modality="vector", shape=(1,)))}
    network = Fusion(SeveralStandardize(inputs), [Sum()], 1, 4, 3, 0.0, modality_dropout=0.9).eval()
    torch.testing.assert_close(network(x), network(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"use_inputs": ("face",)}, "no input 'face'"),
        ({"fusion": "early", "use_inputs": ("age",)}, "needs an input with steps, not only age"),
        ({"fusion": "early"}, "track has 6 steps, slow has 3 steps"),
    ],
)
def test_e8_fusions_that_the_data_does_not_allow_are_usage_errors(
    tmp_path: Path, settings: dict[str, object], words: str
) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.npz"
    np.savez(
        path,
        track=rng.normal(size=(30, 6, 2)),
        slow=rng.normal(size=(30, 3, 2)),
        age=np.arange(30.0),
        y=np.arange(30) % 2,
    )
    data = dataset(path, options=OpenOptions(inputs=("track:sequence", "slow:sequence", "age")))
    with pytest.raises(UsageError, match=words):
        snellen.train(data, "fusion", out=tmp_path / "run", **settings)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> snellen.TrainedRun:
    """A short training on the skeletons and masks of few gestures."""
    data = dataset("gestures", options=OpenOptions(inputs=("skeleton", "mask")))
    data = dataclasses.replace(data, splits={**data.splits, "train": data.splits["train"][:200]})
    options = RunOptions(threads=1, report=False)
    return snellen.train(data, "fusion", out=tmp_path_factory.mktemp("e8") / "run", options=options, epochs=1)


def test_e8_the_report_has_the_metric_by_missing_input_and_the_importance_of_each(run: snellen.TrainedRun) -> None:
    data = run.data
    task = run.learner.task
    by_missing, importance = missing_input_views(task, run.model, data, "test")
    assert isinstance(by_missing, Table)
    assert isinstance(importance, Table)
    source = data.source
    assert isinstance(source, SeveralInputs)
    ids = data.splits["test"].numpy()
    lacks = {name: int((at[ids] < 0).sum()) for name, at in source.positions.items()}
    counts = {str(row[0]): row[1] for row in by_missing.rows}
    assert counts == {"none": len(ids) - sum(lacks.values()), **lacks}
    removed = without_inputs(data, ["mask"])
    x = removed.samples("test").take(torch.arange(len(ids))).x
    assert isinstance(x, SeveralTensors)
    only_mask = source.positions["skeleton"][ids] < 0
    is_nan = x.tensors["mask"].float().isnan().flatten(1).all(1).numpy()
    np.testing.assert_array_equal(is_nan, ~only_mask)  # a sample keeps its only input
    complete = ids[np.stack([at[ids] >= 0 for at in source.positions.values()]).all(0)]
    whole = run.predict_batch(source.read(complete, data.preprocessing))
    right = np.mean([CLASSES.index(p["class"]) == int(data.truth[i]) for p, i in zip(whole, complete, strict=True)])
    assert str(importance.rows[0][1]).startswith(f"{100 * right:.3g}"[:4])
    assert [row[0] for row in importance.rows] == ["all inputs", "without skeleton", "without mask"]
