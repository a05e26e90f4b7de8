"""N8: cardinality against width and depth on ImageNet.

Source: lecture 003; Xie et al. 2017, table 4. Counts of weights are in the table `parameters`.
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.reproduce.table import How, Measured, Row, Table, figure

ERRORS = {
    "ResNet-101": ("22.0", "6.0"),
    "ResNeXt-101 (32×4d)": ("21.2", "5.6"),
    "ResNet-200": ("21.7", "5.8"),
    "ResNet-101, wider (1×100d)": ("21.3", "5.7"),
    "ResNeXt-101 (2×64d)": ("20.7", "5.5"),
    "ResNeXt-101 (64×4d)": ("20.4", "5.3"),
}


def measure(how: How) -> Iterator[tuple[str, Measured]]:
    """Nothing: the data is not at hand."""
    return iter(())


TABLE = Table(
    name="imagenet-resnext",
    title="N8: cardinality on ImageNet",
    setup="ImageNet, one crop of 224 pixels from the middle.",
    unit="% wrong of the validation pictures",
    rows=tuple(
        Row(
            name=f"{network}, {kind}",
            published=figure(text, "[lecture] 003"),
            cannot="needs ImageNet, 1.28 million pictures that are given out on request only",
        )
        for network, printed in ERRORS.items()
        for kind, text in zip(("top-1", "top-5"), printed, strict=True)
    ),
    seeds=1,
    few=1,
    seconds=lambda how: 0.0,
    measure=measure,
)
