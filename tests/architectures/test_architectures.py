"""Every architecture: output shapes, minimum sizes, suggestions, preprocessing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from snellen.architectures import ARCHITECTURES as ALL_ARCHITECTURES
from snellen.architectures.architecture import Architecture, InitSettings
from snellen.architectures.front_ends import accepted
from snellen.core.errors import UsageError
from snellen.core.settings import make
from snellen.core.spec import Classes, Input, Numbers, Preprocessing, Spec, Target
from snellen.tasks.classify import LEARNERS as CLASSIFIERS
from snellen.tasks.regress import LEARNERS as REGRESSORS

PHOTOS = ("beach", "no beach")
DIGITS = tuple("0123456789")
ARCHITECTURES = {name: one for name, one in ALL_ARCHITECTURES.items() if "image" in one.accepts}


def spec(shape: tuple[int | None, ...], target: Target | None = None, count: int = 0, dtype: str = "uint8") -> Spec:
    inputs = {"image": Input(modality="image", shape=shape, dtype=dtype)}
    return Spec(name="s", inputs=inputs, target=target or Classes(names=PHOTOS), sizes={"train": count})


def meta_body(architecture: Architecture[Any], shape: tuple[int, ...], **options: object) -> nn.Module:
    """The body for images of this shape, on the meta device."""
    with torch.device("meta"):
        return architecture.build(make(architecture.settings, options), spec(shape), 7)


@pytest.mark.parametrize(
    "shape",
    [(3, 32, 32), (1, 28, 28), (4, 64, 64), (3, 65, 65), (3, 24, 100)],
    ids=lambda shape: "x".join(map(str, shape)),
)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_output_shape_for_images_of_any_size(name: str, shape: tuple[int, ...]) -> None:
    architecture = ARCHITECTURES[name]
    if architecture.unsupported_reason(spec(shape)) is not None:
        assert min(shape[1:]) < architecture.min_size
        return
    net = meta_body(architecture, shape)
    size = architecture.preprocessing_of(InitSettings(), spec(shape)).size
    assert size is not None
    for training in (True, False):
        y = net.train(training)(torch.zeros(2, shape[0], *size, device="meta"))
        assert isinstance(y, torch.Tensor)
        assert y.shape == (2, 7)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_minimum_size_works_and_one_pixel_less_is_unsupported(name: str) -> None:
    architecture = ARCHITECTURES[name]
    min_size = architecture.min_size
    for height, width in ((min_size, min_size), (min_size, architecture.max_size), (architecture.max_size, min_size)):
        assert architecture.unsupported_reason(spec((3, height, width))) is None
        net = meta_body(architecture, (3, height, width)).eval()
        assert net(torch.zeros(1, 3, height, width, device="meta")).shape == (1, 7)
    if min_size > 1:
        reason = architecture.unsupported_reason(spec((3, 200, min_size - 1)))
        assert reason == f"needs images of at least {min_size}x{min_size} pixels, these have {min_size - 1}x200"
        assert CLASSIFIERS[name].unsupported_reason(spec((3, min_size - 1, min_size - 1))) is not None


@pytest.mark.parametrize(("name", "min_size"), [("vgg16", 32), ("alexnet", 15), ("lenet", 12)])
def test_an_image_size_below_the_minimum_is_an_error_with_a_remedy(name: str, min_size: int) -> None:
    architecture = ARCHITECTURES[name]
    with pytest.raises(
        UsageError, match=f"needs an image size of at least {min_size} pixels, not {min_size - 1}"
    ) as caught:
        architecture.preprocessing_of(InitSettings(image_size=min_size - 1), spec((3, 100, 100)))
    assert f"--image-size {min_size}" in caught.value.remedy
    assert architecture.preprocessing_of(InitSettings(image_size=min_size), spec((3, 100, 100))).size == (
        min_size,
        min_size,
    )


def test_small_images_have_a_stem_without_stride() -> None:
    """Up to 64 pixels the stem has no stride, so that the last feature map is larger than one cell."""
    map_sizes = {}
    for side in (32, 64, 65, 128):
        net = meta_body(ARCHITECTURES["resnet18"], (3, side, side))
        shapes: list[torch.Size] = []
        net.layer4.register_forward_hook(  # type: ignore[operator, union-attr]
            lambda module, inputs, output, shapes=shapes: shapes.append(output.shape)
        )
        net(torch.zeros(1, 3, side, side, device="meta"))
        map_sizes[side] = shapes[0][-1]
    assert map_sizes == {32: 4, 64: 8, 65: 3, 128: 4}


def test_every_architecture_is_a_learner_of_every_task() -> None:
    for learners, target in ((CLASSIFIERS, Classes(names=tuple("abc"))), (REGRESSORS, Numbers(names=("x", "y", "z")))):
        for name, architecture in ARCHITECTURES.items():
            learner = learners[name]
            assert (learner.summary, learner.accepts) == (architecture.summary, accepted(architecture))
            assert learner.in_default_ladder == architecture.in_default_ladder
            with torch.device("meta"):
                model = learner.build(make(learner.settings, {}), spec((3, 32, 32), target))
            heads = [m for m in model.modules() if isinstance(m, nn.Linear)]
            assert heads[-1].out_features == 3


def test_digits_are_not_flipped_and_other_images_are() -> None:
    for name, architecture in ARCHITECTURES.items():
        learner = CLASSIFIERS[name]
        digits = spec((1, 28, 28), Classes(names=DIGITS))
        things = spec((3, 32, 32), Classes(names=PHOTOS))
        for data, flipped in ((digits, False), (things, name not in ("lenet", "residual-mlp"))):
            given = {key: suggestion.value for key, suggestion in learner.suggest(data).items()}
            settings = make(learner.settings, given)
            assert settings.network.augment.hflip == flipped, (name, data)
        if name not in ("lenet", "residual-mlp"):
            assert architecture.suggestions(digits)["pad_crop"].value == 3  # for 28 pixels, instead of 4


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
        suggestions = architecture.suggestions(spec(shape, count=count, dtype=dtype))
        assert ("pretrained" in suggestions) == (suggested and architecture.weights is not None), architecture.name
        if "pretrained" in suggestions:
            assert suggestions["pretrained"].value == "published"
            assert f"{count:,} images" in suggestions["pretrained"].reason


def test_preprocessing_of_published_weights() -> None:
    photos, resnet = spec((1, 300, 200)), ARCHITECTURES["resnet18"]
    assert resnet.preprocessing_of(InitSettings(pretrained="published"), photos) == Preprocessing(
        size=(224, 224), channels=3
    )
    assert resnet.preprocessing_of(InitSettings(pretrained="published", image_size=96), photos) == Preprocessing(
        size=(96, 96), channels=3
    )
    options = Preprocessing(size=(128, 128), channels=1)
    assert resnet.preprocessing_of(InitSettings(), photos) == options
    assert resnet.preprocessing_of(InitSettings(pretrained="published", from_scratch=True), photos) == options
    assert resnet.preprocessing_of(InitSettings(pretrained="runs/resnet18-photos-1"), photos) == options
