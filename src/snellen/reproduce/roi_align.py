"""N11: RoIPool and RoIAlign in Mask R-CNN, on COCO.

Source: lecture 003; He, Gkioxari, Dollár and Girshick 2017, "Mask R-CNN", table 2 (d). `bench/roi_align.py` compares
the two on a small dataset.
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.reproduce.table import Measurement, MeasureOptions, PublishedTable, TableRow, printed_value

PRINTED = {  # pooling -> AP, AP50, AP75 of masks, then of boxes
    "RoIPool": ("23.6", "46.5", "21.6", "28.2", "52.7", "26.9"),
    "RoIAlign": ("30.9", "51.8", "32.1", "34.0", "55.3", "36.4"),
}
FIGURES = ("mask AP", "mask AP50", "mask AP75", "box AP", "box AP50", "box AP75")


def measure(options: MeasureOptions) -> Iterator[tuple[str, Measurement]]:
    """Measure nothing: the data is not available."""
    return iter(())


TABLE = PublishedTable(
    name="coco-roi-align",
    title="N11: RoIPool and RoIAlign in Mask R-CNN on COCO",
    setup="Mask R-CNN, ResNet-50-C5 with stride 32, COCO trainval35k to minival.",
    unit="%",
    rows=tuple(
        TableRow(
            name=f"{pooling}, {name}",
            published=printed_value(text, "[lecture] 003"),
            unavailable_reason="needs COCO (115,000 images) and days on a GPU",
        )
        for pooling, printed in PRINTED.items()
        for name, text in zip(FIGURES, printed, strict=True)
    ),
    seeds=1,
    quick_seeds=1,
    seconds=lambda options: 0.0,
    measure=measure,
)
