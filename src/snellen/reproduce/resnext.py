"""N8: cardinality, width and depth on ImageNet (ResNeXt).

Source: lecture 003; Xie et al. 2017, table 4. The numbers of parameters are in the table `parameters`.
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.reproduce.table import Measurement, MeasureOptions, PublishedTable, TableRow, printed_value

ERRORS = {
    "ResNet-101": ("22.0", "6.0"),
    "ResNeXt-101 (32×4d)": ("21.2", "5.6"),
    "ResNet-200": ("21.7", "5.8"),
    "ResNet-101, wider (1×100d)": ("21.3", "5.7"),
    "ResNeXt-101 (2×64d)": ("20.7", "5.5"),
    "ResNeXt-101 (64×4d)": ("20.4", "5.3"),
}


def measure(options: MeasureOptions) -> Iterator[tuple[str, Measurement]]:
    """Measure nothing: the data is not available."""
    return iter(())


TABLE = PublishedTable(
    name="imagenet-resnext",
    title="N8: cardinality on ImageNet",
    setup="ImageNet, single centre crop of 224 pixels.",
    unit="% validation error",
    rows=tuple(
        TableRow(
            name=f"{network}, {kind}",
            published=printed_value(text, "[lecture] 003"),
            unavailable_reason="needs ImageNet (1.28 million images, available on request only)",
        )
        for network, printed in ERRORS.items()
        for kind, text in zip(("top-1", "top-5"), printed, strict=True)
    ),
    seeds=1,
    quick_seeds=1,
    seconds=lambda options: 0.0,
    measure=measure,
)
