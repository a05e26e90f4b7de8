"""Draw docs/surfaces.png and docs/approximation.svg, the figures of the guide on fitting functions.

    python docs/fitting.py

It trains the networks of `snellen reproduce surface` and `snellen reproduce approximation`, about five minutes.
"""

from __future__ import annotations

import html
import statistics
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from snellen.core.views import Plot, Series
from snellen.report.overlay import font
from snellen.report.palette import DARK, SERIES
from snellen.report.plots import plot_svg
from snellen.reproduce import approximation, surface
from snellen.reproduce.image_surface import grid, intensity
from snellen.reproduce.mlp_ensemble import predict
from snellen.reproduce.table import MeasureOptions, format_value

DOCS = Path(__file__).parent
OPTIONS = MeasureOptions(seeds=10, device="cpu")
SCALE, GAP, TEXT = 3, 12, 20  # pixels
WIDTHS = (2, 4, 8, 16, 32)
PANEL_WIDTH, PANEL_HEIGHT, TITLE_HEIGHT = 420, 290, 30


def surfaces() -> Image.Image:
    """The image, and for each network the surface of the seed with the median loss (the lower of two)."""
    grey = intensity(grid(surface.SIDE))
    tiles = [("image", grey)]
    for hidden in surface.PRINTED:
        ensemble = surface.train_networks(hidden, OPTIONS)
        losses = surface.final_losses(ensemble, OPTIONS)
        seed = losses.index(statistics.median_low(losses))
        outputs = predict(ensemble, surface.image(OPTIONS)[0])[seed, :, 0]
        tiles.append(
            (f"{surface.label(hidden)}: {format_value(losses[seed])}", outputs * grey.std(correction=0) + grey.mean())
        )
    side = surface.SIDE * SCALE
    sheet = Image.new("L", (3 * side + 4 * GAP, 2 * (side + TEXT) + 3 * GAP), 255)
    for k, (text, values) in enumerate(tiles):
        left, top = GAP + k % 3 * (side + GAP), GAP + k // 3 * (side + TEXT + GAP)
        pixels = (255 * values.clamp(0, 1)).round().to(torch.uint8).reshape(surface.SIDE, surface.SIDE)
        sheet.paste(Image.fromarray(pixels.numpy()).resize((side, side), Image.Resampling.NEAREST), (left, top + TEXT))
        ImageDraw.Draw(sheet).text((left, top + 2), text, fill=0, font=font(14))
    return sheet


def panel(function: str, activation_name: str) -> Plot:
    """Median and range over seeds of the largest error against the units of each layer, a line per depth."""
    series = []
    for depth in approximation.DEPTHS:
        errors = [
            approximation.trained_errors(approximation.Trial(function, activation_name, depth, width), OPTIONS)
            for width in WIDTHS
        ]
        series.append(
            Series(
                name=approximation.layers(depth),
                x=WIDTHS,
                y=[statistics.median(values) for values in errors],
                low=[min(values) for values in errors],
                high=[max(values) for values in errors],
            )
        )
    return Plot(
        title=f"{function}, {approximation.NAMES[activation_name]}",
        x="units of each layer",
        y="largest error",
        series=series,
        log_x=True,
        log_y=True,
    )


def approximation_svg() -> str:
    """Four panels, function by activation, in colours of the reader's scheme."""
    colours = "".join(f"--c{k + 1}:{colour};" for k, colour in enumerate(SERIES))
    dark = "".join(f"--c{k + 1}:{colour};" for k, colour in enumerate(DARK))
    height = PANEL_HEIGHT + TITLE_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{2 * PANEL_WIDTH}" '
        f'height="{2 * height + TITLE_HEIGHT}" viewBox="0 0 {2 * PANEL_WIDTH} {2 * height + TITLE_HEIGHT}">',
        f"<style>svg{{color:#222;--faint:#9995;{colours}font-family:sans-serif}}text{{fill:currentColor}}"
        f"@media (prefers-color-scheme:dark){{svg{{color:#ddd;{dark}}}}}</style>",
    ]
    for k, depth in enumerate(approximation.DEPTHS):
        x = 60 + 110 * k
        parts.append(
            f'<path d="M{x} 16h24" stroke="var(--c{k + 1})" stroke-width="2"/>'
            f'<text x="{x + 30}" y="20" font-size="13">{approximation.layers(depth)}</text>'
        )
    for row, function in enumerate(approximation.FUNCTIONS):
        for column, activation_name in enumerate(approximation.THEOREMS):
            plot = panel(function, activation_name)
            left, top = column * PANEL_WIDTH, TITLE_HEIGHT + row * height
            drawn = plot_svg(plot).replace(
                "<svg", f'<svg y="{TITLE_HEIGHT}" width="{PANEL_WIDTH - 20}" height="{PANEL_HEIGHT}"', 1
            )
            parts.append(
                f'<g transform="translate({left} {top})"><text x="60" y="22" font-size="15" font-weight="bold">'
                f"{html.escape(plot.title)}</text>{drawn}</g>"
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    surfaces().save(DOCS / "surfaces.png", optimize=True)
    (DOCS / "approximation.svg").write_text(approximation_svg(), encoding="utf-8")
