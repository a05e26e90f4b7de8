"""What `snellen filter` shows besides a filtered image: --statistics, --shift and the first layer of --run."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snellen.cli.filter_options import KERNEL_SETTINGS, pair
from snellen.cli.options import STATISTICS_HELP, CustomLearners, int_at_least
from snellen.cli.output_files import check_outputs
from snellen.core.errors import DataError, UsageError, counted

if TYPE_CHECKING:
    from snellen.cli.filter_input import FilterInput
    from snellen.core.views import View

_NEGATIVE = re.compile(r"-\d+(,[-+]?\d+)?|-\d*\.\d+")
MAX_SIDE = 1024  # pixels a side of the middle of an image whose statistics are computed
_SHARED = ("input", "json", "out")  # flags that more than one of these views has


def add_view_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the views."""
    parser._negative_number_matcher = _NEGATIVE  # argparse takes "-5,3" for a flag
    group = parser.add_argument_group("instead of a filtered image")
    group.add_argument("--statistics", nargs="?", type=int_at_least(1), const=0, metavar="D", help=STATISTICS_HELP)
    group.add_argument("--shift", type=pair, metavar="DX,DY", help="With --kernel: whether the map of the image moved "
                       "right and down is the moved map; the same for a fully connected layer")  # fmt: skip
    group.add_argument("--run", metavar="RUN", help="Filters of the first layer of a run beside the derivatives and "
                       "Gabor filters they resemble, and the maps of INPUT")  # fmt: skip


def chosen_view(args: argparse.Namespace) -> Callable[[argparse.Namespace, CustomLearners], int] | None:
    """The view that the flags ask for, or None.

    Raises:
        UsageError: two views, or a flag that does not apply to the view.
    """
    names = [name for name in VIEWS if name in args]
    if not names:
        return None
    if len(names) > 1:
        raise UsageError(f"--{names[0]} and --{names[1]} are two views", "Give one of them.")
    view, flags = VIEWS[names[0]]
    flags = (*flags, *KERNEL_SETTINGS) if "kernel" in flags else flags
    unused = [flag for flag in vars(args) if flag not in (*_SHARED, *flags, names[0])]
    if unused:
        flag = unused[0].replace("_", "-")
        raise UsageError(f"--{flag} does not apply to --{names[0]}", f"Leave out --{flag}, or --{names[0]}.")
    return view


def run_statistics(args: argparse.Namespace, custom: CustomLearners) -> int:
    """Print the correlation of the pixels of an image against their distance, and write a page."""
    import torch

    from snellen.metrics.pixel_correlation import pixel_correlation

    out = _check_page(args)
    if Path(args.input).expanduser().is_dir():
        raise DataError(f"{args.input} is a folder", f"Its images: snellen data {args.input} --statistics.")
    read = _image(args)
    values = read.values
    notes = [note.replace(", each channel filtered by itself", "") for note in read.recognised_as]
    if max(values.shape[1:]) > MAX_SIDE:
        top, left = (max(0, side - MAX_SIDE) // 2 for side in values.shape[1:])
        values = values[:, top : top + MAX_SIDE, left : left + MAX_SIDE]
        notes.append(f"the middle {values.shape[2]:,} × {values.shape[1]:,} pixels")
    if min(values.shape[1:]) < 2:
        raise DataError(f"{read.name} has one row or column of pixels", "Give an image of at least 2 × 2 pixels.")
    import numpy as np

    tensor = torch.from_numpy(np.ascontiguousarray(values.astype(np.float64)))
    if not bool(tensor.isfinite().all()):
        raise DataError(f"{read.name} has values that are not finite", "Replace them.")
    correlation = pixel_correlation([tensor], args.statistics or None)
    from snellen.cli import terminal
    from snellen.core.serialization import to_plain
    from snellen.report.image_statistics import correlation_plot, correlation_table, distance_limit

    table = correlation_table(correlation, read.name)
    if limit := distance_limit(correlation, args.statistics):
        notes.append(limit)
    if "json" in args:
        terminal.print_json({"input": read.name, "recognised_as": notes, **to_plain(correlation)})
    else:
        lines = [f"{read.name}: {'; '.join(notes)}", "", terminal.table(list(table.columns), table.rows)]
        terminal.print_text("\n".join([*lines, "", table.caption]))
    if out is not None:
        plot = correlation_plot(correlation, read.name)
        views: list[View] = [] if plot is None else [plot]
        _write_page(out, read.name, notes, f"Statistics of {read.name}", "Pixels", [*views, table])
    return 0


def run_shift(args: argparse.Namespace, custom: CustomLearners) -> int:
    """Print whether a filter, and a fully connected layer, commute with a shift."""
    from snellen.cli import terminal
    from snellen.cli.filter_input import choose_kernel, grey_input
    from snellen.filters.examples import EXAMPLES
    from snellen.filters.shifts import check_shift

    if "out" in args:
        raise UsageError("--out does not apply to --shift", "Leave it out; --json prints the numbers.")
    text = vars(args).get("kernel") or (EXAMPLES[args.input].kernel if args.input in EXAMPLES else "")
    if not text:
        raise UsageError("--shift needs --kernel", "Give one: --kernel sobel-x.")
    read = grey_input(_image(args))
    given = {name: vars(args)[name] for name in KERNEL_SETTINGS if name in args}
    chosen = choose_kernel(text, given, signal=False)
    options = {name: vars(args)[name] for name in ("convolve", "border", "dilation") if name in args}
    dx, dy = args.shift
    checks = {name: check_shift(read.values[0], kernel, dx, dy, **options) for name, kernel in chosen.kernels.items()}
    if "json" in args:
        plain = {name: vars(check) for name, check in checks.items()}
        terminal.print_json({"input": read.name, "recognised_as": list(read.recognised_as), "shift": [dx, dy],
                             "kernels": plain})  # fmt: skip
        return 0
    first = next(iter(checks.values()))
    rows: list[list[str | float | int | None]] = []
    for name, check in checks.items():
        rows.append([f"filter {name}", f"{check.inside[0]} × {check.inside[1]}", _number(check.filter_difference),
                     _number(check.filter_rms)])  # fmt: skip
        if check.border_difference is not None:
            rows.append([f"filter {name}, across the border", "", _number(check.border_difference), ""])
    size = f"{first.layer_size[0]} × {first.layer_size[1]}"
    rows.append(["fully connected, random weights", size, _number(first.layer_difference), _number(first.layer_rms)])
    columns = ["map of the shifted image − shifted map", "pixels", "largest difference", "RMS of the map"]
    terminal.print_text(f"{read.name}: {'; '.join(read.recognised_as)}")
    terminal.print_text(f"shift: {_words(dx, 'to the right', 'to the left')}, {_words(dy, 'down', 'up')}\n")
    terminal.print_text(terminal.table(columns, rows))
    exact = all(check.filter_difference == 0 for check in checks.values())
    precision = "exactly" if exact else "up to rounding"
    layer = "does not" if first.layer_difference > 0 else "has no output here"
    terminal.print_text(
        f"\nAway from the border the filter commutes with the shift {precision}; the fully connected layer {layer}."
    )
    return 0


def run_first_layer(args: argparse.Namespace, custom: CustomLearners) -> int:
    """Print what the filters of the first layer of a run resemble; write a page with their maps of an image."""
    from snellen.cli import terminal
    from snellen.cli.options import load_run

    out = _check_page(args)
    args.device = "cpu"
    trained = load_run(args, custom)
    path = Path(args.input).expanduser()
    if not path.is_file():
        raise DataError(f"{args.input} is no file", "Give an image that the run can read.")
    from snellen.api.first_layer import first_layer_of
    from snellen.report.first_layer import filter_table, layer_views

    layer = first_layer_of(trained, path, terminal.print_message)
    table = filter_table(layer)
    if "json" in args:
        terminal.print_json({
            "input": args.input, "run": str(trained.folder), "shape": list(layer.filters.shape),
            "filters": layer.filters.tolist(), "raw_filters": layer.raw_filters.tolist(),
            "mean": None if layer.mean is None else layer.mean.tolist(),
            "std": None if layer.std is None else layer.std.tolist(),
            "resembles": [dict(zip(table.columns, row, strict=True)) for row in table.rows],
        })  # fmt: skip
    else:
        channels, height, width = layer.image.shape
        size = f"{width} × {height} pixels, {counted(channels, 'channel')}"
        terminal.print_text(f"{args.input}: read as for predict, {size}\n{trained.folder}: {layer.description}\n")
        terminal.print_text(terminal.table(list(table.columns), table.rows) + f"\n\n{table.caption}")
    if out is not None:
        title = f"First layer of {trained.folder.name}"
        _write_page(out, args.input, [layer.description], title, "Filters", layer_views(layer, f"Of {path.name}"))
    return 0


VIEWS: dict[str, tuple[Callable[[argparse.Namespace, CustomLearners], int], tuple[str, ...]]] = {
    "statistics": (run_statistics, ("grey",)),
    "shift": (run_shift, ("grey", "kernel", "convolve", "border", "dilation")),
    "run": (run_first_layer, ()),
}


def _image(args: argparse.Namespace) -> FilterInput:
    from snellen.cli.filter_input import check_input, read_input

    check_input(args.input)
    read = read_input(args.input, "grey" in args)
    if read.signal:
        raise DataError(f"{args.input} is a signal, which has one axis", "Give an image or a grid of numbers.")
    return read


def _check_page(args: argparse.Namespace) -> Path | None:
    paths = [Path(path) for path in vars(args).get("out", [])]
    if len(paths) > 1:
        raise UsageError(f"{len(paths)} files of --out", "Give one: --out FILE.html.")
    for path in paths:
        if path.suffix.lower() != ".html":
            raise UsageError(f"--out {path} does not end in .html", f"Use --out {path.stem or 'out'}.html.")
        if path.is_dir():
            raise UsageError(f"{path} is a folder", f"Give a file: --out {path / 'filter.html'}.")
    check_outputs(paths, {"the input": args.input})
    return paths[0] if paths else None


def _write_page(path: Path, name: str, notes: Sequence[str], title: str, section: str, views: Sequence[View]) -> None:
    from snellen.cli import terminal
    from snellen.core import file_io
    from snellen.report.html_text import escape, escape_nowrap
    from snellen.report.pages.layout import Section, page
    from snellen.report.pages.sections import views_html

    header = f'<h1>{escape(title)}</h1><p class="small">{escape_nowrap("; ".join(notes))}</p>'
    body = Section(title=section, body=views_html(views)).html()
    content = page(title, name, header, body).encode()
    file_io.write_bytes(path, content)
    terminal.print_message(f"{path}: page of {len(content) / 1000:,.0f} kB")


def _words(pixels: int, ahead: str, back: str) -> str:
    """A shift along one axis in words: "5 to the left"."""
    return f"{abs(pixels)} {back if pixels < 0 else ahead}"


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.3g}"
