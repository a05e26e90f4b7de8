"""Every architecture: what it maps to what, what it refuses, what it suggests."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from snellen.architectures import ARCHITECTURES
from snellen.architectures.architecture import Architecture, Start
from snellen.core.errors import UsageError
from snellen.core.settings import make
from snellen.core.spec import Classes, Input, Numbers, Preprocessing, Spec, Target
from snellen.tasks.classify import LEARNERS as CLASSIFIERS
from snellen.tasks.regress import LEARNERS as REGRESSORS

PHOTOS = ("beach", "no beach")
DIGITS = tuple("0123456789")


def spec(shape: tuple[int | None, ...], target: Target | None = None, count: int = 0, dtype: str = "uint8") -> Spec:
    inputs = {"image": Input(modality="image", shape=shape, dtype=dtype)}
    return Spec(name="s", inputs=inputs, target=target or Classes(names=PHOTOS), sizes={"train": count})


def planned(architecture: Architecture[Any], shape: tuple[int, ...], **own: object) -> nn.Module:
    """The body for pictures of this shape, without weights."""
    with torch.device("meta"):
        return architecture.built(make(architecture.settings, own), spec(shape), 7)


@pytest.mark.parametrize(
    "shape",
    [(3, 32, 32), (1, 28, 28), (4, 64, 64), (3, 65, 65), (3, 24, 100)],
    ids=lambda shape: "x".join(map(str, shape)),
)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_pictures_of_any_size_become_as_many_numbers_as_are_asked_for(name: str, shape: tuple[int, ...]) -> None:
    architecture = ARCHITECTURES[name]
    if architecture.unsupported_reason(spec(shape)) is not None:
        assert min(shape[1:]) < architecture.least
        return
    net = planned(architecture, shape)
    size = architecture.preprocessing_of(Start(), spec(shape)).size
    assert size is not None
    for training in (True, False):
        y = net.train(training)(torch.zeros(2, shape[0], *size, device="meta"))
        assert isinstance(y, torch.Tensor)
        assert y.shape == (2, 7)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_least_size_is_enough_and_one_less_is_refused_with_the_reason(name: str) -> None:
    architecture = ARCHITECTURES[name]
    least = architecture.least
    for height, width in ((least, least), (least, architecture.most), (architecture.most, least)):
        assert architecture.unsupported_reason(spec((3, height, width))) is None
        net = planned(architecture, (3, height, width)).eval()
        assert net(torch.zeros(1, 3, height, width, device="meta")).shape == (1, 7)
    if least > 1:
        told = architecture.unsupported_reason(spec((3, 200, least - 1)))
        assert told == f"needs {least} pixels a side, these are {least - 1}x200"
        assert CLASSIFIERS[name].unsupported_reason(spec((3, least - 1, least - 1))) is not None


@pytest.mark.parametrize(("name", "least"), [("vgg16", 32), ("alexnet", 15), ("lenet", 12)])
def test_a_size_asked_for_that_is_too_small_is_refused_with_a_remedy(name: str, least: int) -> None:
    architecture = ARCHITECTURES[name]
    with pytest.raises(UsageError, match=f"needs {least} pixels a side, not {least - 1}") as caught:
        architecture.preprocessing_of(Start(image_size=least - 1), spec((3, 100, 100)))
    assert f"--image-size {least}" in caught.value.remedy
    assert architecture.preprocessing_of(Start(image_size=least), spec((3, 100, 100))).size == (least, least)


def test_small_pictures_keep_their_detail() -> None:
    """Up to 64 pixels the first layers take no strides: what the last convolution sees is not one pixel."""
    places = {}
    for side in (32, 64, 65, 128):
        net = planned(ARCHITECTURES["resnet18"], (3, side, side))
        seen: list[torch.Size] = []
        net.layer4.register_forward_hook(  # type: ignore[operator, union-attr]
            lambda module, inputs, output, seen=seen: seen.append(output.shape)
        )
        net(torch.zeros(1, 3, side, side, device="meta"))
        places[side] = seen[0][-1]
    assert places == {32: 4, 64: 8, 65: 3, 128: 4}


def test_every_architecture_is_a_learner_of_every_task() -> None:
    for learners, target in ((CLASSIFIERS, Classes(names=tuple("abc"))), (REGRESSORS, Numbers(names=("x", "y", "z")))):
        for name, architecture in ARCHITECTURES.items():
            learner = learners[name]
            assert (learner.summary, learner.accepts) == (architecture.summary, architecture.accepts)
            assert learner.in_default_ladder == architecture.in_default_ladder
            with torch.device("meta"):
                model = learner.build(make(learner.settings, {}), spec((3, 32, 32), target))
            heads = [m for m in model.modules() if isinstance(m, nn.Linear)]
            assert heads[-1].out_features == 3


def test_digits_are_not_mirrored_and_pictures_of_other_things_are() -> None:
    for name, architecture in ARCHITECTURES.items():
        learner = CLASSIFIERS[name]
        digits = spec((1, 28, 28), Classes(names=DIGITS))
        things = spec((3, 32, 32), Classes(names=PHOTOS))
        for data, mirrored in ((digits, False), (things, name not in ("lenet", "residual-mlp"))):
            given = {key: because.value for key, because in learner.suggest(data).items()}
            settings = make(learner.settings, given)
            assert settings.network.augment.flip == mirrored, (name, data)
        if name not in ("lenet", "residual-mlp"):
            assert architecture.suggested(digits)["pad_crop"].value == 3  # of 28 pixels, not 4


@pytest.mark.parametrize(
    ("shape", "count", "dtype", "suggested"),
    [
        ((3, 224, 224), 300, "uint8", True),
        ((3, None, None), 4999, "uint8", True),
        ((1, 65, 65), 300, "uint8", True),
        ((None, None, None), 300, "uint8", True),
        ((3, 224, 224), 5000, "uint8", False),
        ((3, 64, 64), 300, "uint8", False),
        ((3, 224, 64), 300, "uint8", False),
        ((4, 224, 224), 300, "uint8", False),
        ((3, 224, 224), 300, "uint16", False),
        ((3, 224, 224), 300, "float32", False),
        ((3, 224, 224), 0, "uint8", False),
    ],
)
def test_published_weights_are_suggested_for_few_large_photographs(
    shape: tuple[int | None, ...], count: int, dtype: str, suggested: bool
) -> None:
    for architecture in ARCHITECTURES.values():
        found = architecture.suggested(spec(shape, count=count, dtype=dtype))
        assert ("pretrained" in found) == (suggested and architecture.weights is not None), architecture.name
        if "pretrained" in found:
            assert found["pretrained"].value == "published"
            assert f"{count:,} pictures" in found["pretrained"].why


def test_pictures_are_read_as_published_weights_saw_theirs() -> None:
    photos, resnet = spec((1, 300, 200)), ARCHITECTURES["resnet18"]
    assert resnet.preprocessing_of(Start(pretrained="published"), photos) == Preprocessing(size=(224, 224), channels=3)
    assert resnet.preprocessing_of(Start(pretrained="published", image_size=96), photos) == Preprocessing(
        size=(96, 96), channels=3
    )
    own = Preprocessing(size=(128, 128), channels=1)
    assert resnet.preprocessing_of(Start(), photos) == own
    assert resnet.preprocessing_of(Start(pretrained="published", from_scratch=True), photos) == own
    assert resnet.preprocessing_of(Start(pretrained="runs/resnet18-photos-1"), photos) == own
