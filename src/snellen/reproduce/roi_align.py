"""N11: RoIPool and RoIAlign in Mask R-CNN, on COCO.

Source: lecture 003; He, Gkioxari, Dollár and Girshick 2017, "Mask R-CNN", table 2 (d). `bench/roi_align.py` compares
the two on a small set.
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.reproduce.table import How, Measured, Row, Table, figure

PRINTED = {  # pooling -> AP, AP50, AP75 of masks, then of boxes
    "RoIPool": ("23.6", "46.5", "21.6", "28.2", "52.7", "26.9"),
    "RoIAlign": ("30.9", "51.8", "32.1", "34.0", "55.3", "36.4"),
}
FIGURES = ("mask AP", "mask AP50", "mask AP75", "box AP", "box AP50", "box AP75")


def measure(how: How) -> Iterator[tuple[str, Measured]]:
    """Nothing: the data is not at hand."""
    return iter(())


TABLE = Table(
    name="coco-roi-align",
    title="N11: RoIPool and RoIAlign in Mask R-CNN on COCO",
    setup="Mask R-CNN, ResNet-50-C5 with stride 32, COCO trainval35k to minival.",
    unit="%",
    rows=tuple(
        Row(
            name=f"{pooling}, {name}",
            published=figure(text, "[lecture] 003"),
            cannot="needs COCO, 115,000 pictures, and days of a GPU",
        )
        for pooling, printed in PRINTED.items()
        for name, text in zip(FIGURES, printed, strict=True)
    ),
    seeds=1,
    few=1,
    seconds=lambda how: 0.0,
    measure=measure,
)
