"""Output of `snellen filter`: text, JSON, images, exact numbers and the page."""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snellen.cli.filter_input import ChosenKernel, FilterInput
from snellen.core.errors import UsageError, counted
from snellen.filters.correlation import Array
from snellen.filters.stages import FilterStage, filter_stage, format_value, require_memory, sum_of
from snellen.filters.windows import BORDERS

SUFFIXES = (".html", ".png", ".csv", ".npz")
MAX_GRID = 16  # rows and columns of a grid that is printed whole
MAX_ROW = 40  # values of a signal that is printed whole
MAX_TERMS = 25  # products that are printed; of more the largest
MAX_JSON = 10_000  # values of a result in JSON
MAX_CSV = 4_000_000
Outputs = Sequence[Path]


def check_output(path: Path) -> Path:
    """Raise UsageError for a file name with an unknown suffix, or a folder."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--out {path} does not end in {', '.join(SUFFIXES)}", f"Use --out {path.stem or 'out'}.html.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder", f"Give a file: --out {path / 'filter.html'}.")
    return path


def run_stages(
    args: argparse.Namespace,
    read: FilterInput,
    chosen: ChosenKernel | None,
    stages: Sequence[FilterStage],
    outputs: Outputs,
) -> int:
    """Print and write a filter, a pooling, or a filter followed by a pooling."""
    from snellen.report.filter_images import GreyScale, scale_of_input, scale_of_result

    place = vars(args).get("at")
    places = None if place is None else trace_back(stages, *place)
    scales: list[GreyScale] = []
    if outputs:
        scales = [scale_of_input(read.values, read.white, read.numbers)]
        for stage in stages:
            scales.append(scale_of_result(stage, scales[-1], read.numbers))
    written = []
    for path in outputs:
        suffix = path.suffix.lower()
        last = stages[-1].result
        if suffix == ".html":
            from snellen.report.pages.filter import filter_page

            page = filter_page(read.name, read.recognised_as, stages, scales, places or trace_back(stages), read.signal)
            _write(path, page.encode())
            written.append(f"{path}: page of {len(page.encode()) / 1000:,.0f} kB")
        elif suffix == ".png":
            from snellen.report.filter_images import png_bytes

            _write(path, png_bytes(last, scales[-1]))
            clipped = scales[-1].clipped(last)
            verb = "is" if clipped == 1 else "are"
            beyond = f"; {counted(clipped, 'value')} ({100 * clipped / last.size:.2g} %) beyond {verb} clipped"
            part = beyond if clipped else ""
            written.append(f"{path}: {scales[-1]}{part}")
        elif suffix == ".csv":
            written.append(_write_csv(path, last))
        else:
            arrays = {"input": read.values, "result": last}
            if stages[0].kernel is not None:
                arrays |= {"kernel": stages[0].kernel, "filtered": stages[0].result}
            if stages[-1].pooled is not None and stages[-1].pooled.argmax is not None:
                arrays["argmax"] = stages[-1].pooled.argmax
            written.append(_write_npz(path, arrays))
    if "json" in args:
        from snellen.cli import terminal

        terminal.print_json(_as_json(read, stages, places, outputs))
    else:
        _print(_text(read, chosen, stages, places), written)
    return 0


def trace_back(stages: Sequence[FilterStage], x: int | None = None, y: int | None = None) -> list[tuple[int, int]]:
    """The output of each stage behind the pixel `x`, `y` of the last: of a maximum the chosen value, else the first.

    None: the middle of the last result.
    """
    last = stages[-1]
    places = [(last.x.outputs // 2 if x is None else x, last.y.outputs // 2 if y is None else y)]
    for stage in reversed(stages[1:]):
        terms = stage.terms(0, *places[0])
        chosen = max(terms, key=lambda term: term.weight)
        places.insert(0, (chosen.x, chosen.y))
    last.terms(0, *places[-1])  # raises for a pixel outside of the result
    return places


def grid_lines(values: Array | NDArray[Any], indent: str = "  ") -> list[str]:
    """Rows of numbers with aligned columns."""
    cells = [[format_value(float(value)) for value in row] for row in values]
    width = max(len(cell) for row in cells for cell in row)
    return [indent + " ".join(cell.rjust(width) for cell in row) for row in cells]


def arithmetic_lines(stage: FilterStage, channel: int, x: int, y: int, signal: bool = False) -> list[str]:
    """The arithmetic of one output: every product, or the largest of many, and their sum; a signal has no y."""

    def at(x: int, y: int) -> str:
        return f"{x}" if signal else f"{x},{y}"

    terms = stage.terms(channel, x, y)
    total = float(stage.result[channel, y, x])
    name = f" of channel {channel + 1}" if len(stage.result) > 1 else ""
    if stage.kind == "max":
        values = ", ".join(format_value(term.value) for term in terms[:MAX_TERMS])
        chosen = next(term for term in terms if term.weight)
        more = f" and {len(terms) - MAX_TERMS} more" if len(terms) > MAX_TERMS else ""
        return [f"output {at(x, y)}{name}: max({values}{more}) = {format_value(total)}",
                f"  its gradient goes to the input at {at(chosen.x, chosen.y)}"]  # fmt: skip
    if stage.kind == "mean":
        values = " + ".join(format_value(term.value) for term in terms[:MAX_TERMS])
        more = f" + {len(terms) - MAX_TERMS} more" if len(terms) > MAX_TERMS else ""
        return [f"output {at(x, y)}{name}: ({values}{more}) / {len(terms)} = {format_value(total)}",
                f"  its gradient goes to all {len(terms)} values, 1/{len(terms)} to each"]  # fmt: skip
    shown = terms if len(terms) <= MAX_TERMS else sorted(terms, key=lambda term: -abs(term.product))[:MAX_TERMS]
    where = "position in F" if signal else "position x,y of F"
    lines = [f"output {at(x, y)}{name}: F × H as applied = product, at the {where}"]
    columns = [[format_value(number) for number in (term.value, term.weight, term.product)] for term in shown]
    widths = [max(len(row[k]) for row in columns) for k in range(3)]
    for term, row in zip(shown, columns, strict=True):
        value, weight, product = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        beyond = ""
        if term.outside:
            repeated = f"value of {at(*term.source)}" if term.source else "0"
            beyond = f"  beyond the border ({stage.x.border}: {repeated})"
        lines.append(f"  {value} × {weight} = {product}   {at(term.x, term.y)}{beyond}")
    if len(shown) < len(terms):
        rest = total - sum(term.product for term in shown)
        lines.append(f"  and {len(terms) - len(shown):,} smaller products, together {format_value(rest)}")
    return [*lines, f"  sum = {format_value(total)}"]


def _text(
    read: FilterInput,
    chosen: ChosenKernel | None,
    stages: Sequence[FilterStage],
    places: Sequence[tuple[int, int]] | None,
) -> list[str]:
    lines = [f"{read.name}: {'; '.join(read.recognised_as)}"]
    if _is_small(read.values, read.signal):
        lines += grid_lines(read.values[0])
    for k, stage in enumerate(stages):
        lines += ["", *_stage_lines(stage, read.signal, chosen)]
        if places is not None:
            for channel in range(min(3, len(stage.result))):
                lines += ["", *arithmetic_lines(stage, channel, *places[k], read.signal)]
    if places is None and not _is_small(stages[-1].result, read.signal):
        at = "--at X" if read.signal else "--at X,Y"
        lines += ["", f"The arithmetic of one output: {at}. A page with that of every output: --out FILE.html."]
    return lines


def _stage_lines(stage: FilterStage, signal: bool, chosen: ChosenKernel | None) -> list[str]:
    y, x, lines = stage.y, stage.x, []
    if stage.plan is not None and stage.kernel is not None and chosen is not None:
        summary = f": {chosen.summary}" if chosen.summary else ""
        notes = f" ({'; '.join(chosen.notes)})" if chosen.notes else ""
        total = format_value(sum_of(stage.kernel))
        lines.append(f"kernel {stage.title}, {_size(stage.kernel.shape[::-1], signal)}{summary}{notes}; sum {total}")
        if _is_small(stage.kernel[None], signal):
            lines += grid_lines(stage.kernel)
        operation = (
            "convolution: the kernel is flipped"
            if stage.plan.convolve
            else "correlation, as in deep learning: the kernel is not flipped (--convolve flips it)"
        )
        lines += [
            operation,
            f"  {stage.formula}, {'i' if signal else 'i along x and j along y'}, from the centre of the kernel",
        ]
        ends = [(axis.before, axis.after) for axis in ((x,) if signal else (x, y))]
        padded = ", ".join(f"{before} and {after}" for before, after in dict.fromkeys(ends))
        beyond = "no padding"
        if any(map(any, ends)):
            noun = "value" if padded == "1" else "values"
            beyond = f"border {x.border} ({BORDERS[x.border].summary}), {padded} {noun} padded"
        field = _size((x.span, y.span), signal)
        lines.append(f"  {beyond}; stride {x.stride}, dilation {x.dilation}: receptive field {field}")
    else:
        lines += [stage.title, f"  {stage.formula}"]
        left = [(axis.inputs - axis.span) % axis.stride for axis in (x, y)]
        if any(left):
            parts = [counted(n, noun) for n, noun in zip(left, ("column", "row"), strict=True) if n]
            verb = "fills no window and is" if sum(left) == 1 else "fill no window and are"
            lines.append(f"  {' and '.join(parts)} at the end {verb} left out")
    size = _size((x.outputs, y.outputs), signal)
    for channel, values in enumerate(stage.result):
        name = f", channel {channel + 1}" if len(stage.result) > 1 else ""
        low, high, mean = (format_value(float(number)) for number in (values.min(), values.max(), values.mean()))
        lines.append(f"result {size}{name}: {low} to {high}, mean {mean}")
    if _is_small(stage.result, signal):
        lines += grid_lines(stage.result[0])
        gradient = stage.gradient() if _is_small(stage.source, signal) else None
        if gradient is not None:
            lines += ["gradient of the sum of the outputs with respect to the input", *grid_lines(gradient[0])]
    return lines


def _size(shape: Sequence[int], signal: bool) -> str:
    return counted(shape[0], "value") if signal else f"{shape[0]} × {shape[1]}"


def _is_small(values: NDArray[Any], signal: bool) -> bool:
    """Whether (C, H, W) is printed whole."""
    channels, height, width = values.shape
    return bool(channels == 1 and height <= MAX_GRID and width <= (MAX_ROW if signal else MAX_GRID))


def _as_json(
    read: FilterInput, stages: Sequence[FilterStage], places: Sequence[tuple[int, int]] | None, outputs: Outputs
) -> dict[str, Any]:
    return {
        "input": read.name,
        "recognised_as": list(read.recognised_as),
        "shape": list(read.values.shape),
        "stages": [_stage_json(stage, None if places is None else places[k]) for k, stage in enumerate(stages)],
        "files": [str(path) for path in outputs],
    }


def _stage_json(stage: FilterStage, place: tuple[int, int] | None) -> dict[str, Any]:
    y, x = stage.y, stage.x
    fields: dict[str, Any] = {"title": stage.title, "formula": stage.formula}
    if stage.plan is not None and stage.kernel is not None:
        fields |= {"operation": "convolution" if stage.plan.convolve else "correlation"}
        fields |= {"kernel": stage.kernel.tolist(), "border": x.border, "dilation": x.dilation}
        fields |= {"padding": {"x": [x.before, x.after], "y": [y.before, y.after]}}
    else:
        gradient = stage.gradient() if stage.source.size <= MAX_JSON else None
        fields |= {"pool": stage.kind, "size": [x.taps, y.taps]}
        if gradient is not None:
            fields["gradient"] = gradient.tolist()
    fields |= {"stride": x.stride, "receptive_field": [x.span, y.span], "result_shape": list(stage.result.shape)}
    fields |= {
        "channels": [
            {"min": float(values.min()), "max": float(values.max()), "mean": float(values.mean())}
            for values in stage.result
        ]
    }
    if stage.result.size <= MAX_JSON:
        fields["result"] = stage.result.tolist()
    if place is not None:
        fields["at"] = [
            {
                "channel": channel,
                "x": place[0],
                "y": place[1],
                "value": float(stage.result[channel, place[1], place[0]]),
                "terms": [
                    {
                        "x": t.x,
                        "y": t.y,
                        "value": t.value,
                        "weight": t.weight,
                        "product": t.product,
                        "beyond": t.outside,
                    }
                    for t in stage.terms(channel, *place)
                ],
            }
            for channel in range(len(stage.result))
        ]
    return fields


def run_bank(
    args: argparse.Namespace,
    read: FilterInput,
    chosen: ChosenKernel,
    options: Mapping[str, Any],
    outputs: Outputs,
) -> int:
    """Print and write the maps of a bank of kernels, filtered one after the other."""
    from snellen.cli import terminal
    from snellen.cli.filter_input import grey_input
    from snellen.report.filter_images import scale_of_input, scale_of_result
    from snellen.report.pages.filter import ResponseMap, bank_page, map_image

    suffixes = {path.suffix.lower() for path in outputs}
    if ".csv" in suffixes:
        raise UsageError(".csv holds one result, a bank has several", "Use --out FILE.npz.")
    read = grey_input(read)
    names = list(chosen.kernels)
    if ".npz" in suffixes:
        require_memory(len(names) * read.values.size)
    place = vars(args).get("at")
    base = scale_of_input(read.values, read.white, read.numbers) if outputs else None
    maps, results, rows = [], [], []
    strongest: tuple[float, FilterStage] | None = None
    for name in names:
        stage = filter_stage(read.values, chosen.kernels[name], name, **options)
        result = stage.result[0]
        at = place or (stage.x.outputs // 2, stage.y.outputs // 2)
        stage.terms(0, *at)  # raises for a pixel outside of the result
        response = float(result[at[1], at[0]])
        strength = float(np.sqrt(np.mean(np.square(result))))
        rows.append({"kernel": name, "min": float(result.min()), "max": float(result.max()), "rms": strength,
                     "at": response})  # fmt: skip
        if base is not None:
            scale = scale_of_result(stage, base, read.numbers)
            maps.append(
                ResponseMap(
                    name=name, kernel=chosen.kernels[name], image=map_image(result, scale, len(names)), rms=strength
                )
            )
        if ".npz" in suffixes:
            results.append(result)
        if strongest is None or abs(response) > strongest[0]:
            strongest = (abs(response), stage)
    assert strongest is not None
    at = place or (strongest[1].x.outputs // 2, strongest[1].y.outputs // 2)
    written = []
    for path in outputs:
        suffix = path.suffix.lower()
        if suffix == ".npz":
            kernels = np.stack([chosen.kernels[name] for name in names])
            arrays = {"input": read.values, "kernels": kernels, "names": np.array(names), "maps": np.stack(results)}
            written.append(_write_npz(path, arrays))
        elif suffix == ".png":
            from snellen.report.filter_images import contact_sheet, pixels_png

            columns = min(len(maps), max(1, round(len(maps) ** 0.5)))
            _write(path, pixels_png(contact_sheet([m.image for m in maps], columns)))
            written.append(
                f"{path}: {counted(len(maps), 'map')} in rows of {columns}, in the order of the table; 0 is mid-grey"
            )
        else:
            assert base is not None
            scales = [base, scale_of_result(strongest[1], base, read.numbers)]
            page = bank_page(read.name, read.recognised_as, chosen.title, maps, strongest[1], scales, at)
            _write(path, page.encode())
            written.append(f"{path}: page of {len(page.encode()) / 1000:,.0f} kB")
    shape = chosen.kernels[names[0]].shape
    if "json" in args:
        terminal.print_json({"input": read.name, "recognised_as": list(read.recognised_as), "bank": chosen.title,
                             "kernel_shape": list(shape), "at": list(at), "maps": rows,
                             "files": [str(path) for path in outputs]})  # fmt: skip
        return 0
    lines = [f"{read.name}: {'; '.join(read.recognised_as)}", ""]
    lines += [f"{chosen.title}: {chosen.summary}; {counted(len(names), 'kernel')} of {shape[1]} × {shape[0]}"]
    lines += [
        f"result {strongest[1].x.outputs} × {strongest[1].y.outputs}; root mean square, range, output {at[0]},{at[1]}"
    ]
    width = max(map(len, names))
    for row in rows:
        numbers = [format_value(float(f"{row[key]:.4g}")).rjust(10) for key in ("rms", "min", "max", "at")]
        lines.append(f"  {row['kernel']:<{width}} " + " ".join(numbers))
    _print(lines, written)
    return 0


def _write(path: Path, content: bytes) -> None:
    from snellen.core import file_io

    file_io.write_bytes(path, content)


def _write_csv(path: Path, values: Array) -> str:
    if len(values) > 1:
        raise UsageError(f"{path}: a .csv holds one channel, the result has {len(values)}", "Add --grey, or use .npz.")
    if values.size > MAX_CSV:
        raise UsageError(f"{path}: {values.size:,} values are too many for .csv", "Use --out FILE.npz.")
    rows = (
        ",".join(str(int(v)) if v == int(v) and abs(v) < 1e15 else repr(v) for v in row) for row in values[0].tolist()
    )
    _write(path, ("\n".join(rows) + "\n").encode())
    return f"{path}: {values.shape[2]} × {values.shape[1]} numbers"


def _write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    from snellen.core import file_io

    with file_io.atomic_writer(path, sum(array.nbytes for array in arrays.values())) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return f"{path}: {', '.join(f'{name} {array.shape}' for name, array in arrays.items())}"


def _print(lines: Sequence[str], written: Sequence[str]) -> None:
    from snellen.core.errors import printable

    text = io.StringIO()
    for line in (*lines, *([""] if written else []), *written):
        text.write(printable(line) + "\n")
    print(text.getvalue(), end="")
