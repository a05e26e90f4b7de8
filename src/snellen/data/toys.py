"""Built-in data that needs no network and no disk: digits and the toy sets, seeded."""

from __future__ import annotations

from collections.abc import Callable

import torch

from snellen.core.spec import Classes, Input
from snellen.data.dataset import Array, Draft


def digits(seed: int) -> Draft:
    """1,797 hand-written digits of 8x8 pixels with 17 grey levels.

    Source: Alpaydin and Kaynak 1998, UCI Optical Recognition of Handwritten Digits, as scikit-learn holds it.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images)[:, None]
    return Draft(
        source=Array((images * 15.9375).round().to(torch.uint8), "digit"),  # 0..16 to 0..255
        inputs={"image": Input(modality="image", shape=(1, 8, 8), dtype="uint8")},
        target=Classes(names=tuple("0123456789")),
        truth=torch.from_numpy(bunch.target).long(),
        taken_for="the built-in digits of scikit-learn (1,797 of 8x8 pixels)",
    )


TOYS: dict[str, Callable[[int], Draft]] = {"digits": digits}
