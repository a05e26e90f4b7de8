"""`snellen filter INPUT --kernel sharpen`: correlation, convolution and pooling with the arithmetic of each output."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snellen.cli.filter_options import KERNEL_SETTINGS, add_kernel_settings, pair, whole
from snellen.cli.filter_views import add_view_flags, chosen_view
from snellen.cli.main import make_parser
from snellen.cli.output_files import check_outputs
from snellen.core.errors import UsageError
from snellen.filters.names import BANK_NAMES, BORDER_NAMES, EXAMPLE_NAMES, KERNEL_NAMES, POOLING_NAMES


def run(arguments: Sequence[str], custom: Any) -> int:
    args = _parser().parse_args(list(arguments))
    if view := chosen_view(args):
        return view(args, custom)
    from snellen.cli import filter_output
    from snellen.cli.filter_input import check_input, choose_kernel, read_input
    from snellen.filters.examples import EXAMPLES
    from snellen.filters.stages import FilterStage, filter_stage, pool_stage

    check_input(args.input)
    outputs = [filter_output.check_output(Path(path)) for path in vars(args).get("out", [])]
    check_outputs(outputs, {"the input": args.input, "the kernel": vars(args).get("kernel", "")})
    given = {name: vars(args)[name] for name in KERNEL_SETTINGS if name in vars(args)}
    kernel_text, pooling = vars(args).get("kernel"), vars(args).get("pool")
    if kernel_text is None and pooling is None and args.input in EXAMPLES:
        kernel_text, pooling = EXAMPLES[args.input].kernel or None, EXAMPLES[args.input].pool or None
    if kernel_text is None and pooling is None:
        raise UsageError(
            "No filter given", "Give --kernel sharpen (snellen filter --help lists the names), or --pool max."
        )
    if kernel_text is None and given:
        raise UsageError(f"--{next(iter(given))} needs --kernel", "Name a kernel, or leave the flag out.")
    unused: list[str] = [flag for flag in ("pool_size", "pool_stride") if flag in vars(args) and pooling is None]
    unused += [flag for flag in _FILTER_FLAGS if flag in vars(args) and kernel_text is None]
    if unused:
        flag, needed = unused[0].replace("_", "-"), "--pool" if unused[0].startswith("pool") else "--kernel"
        raise UsageError(f"--{flag} needs {needed}", f"Give {needed}, or leave the flag out.")
    if "border" in vars(args) and vars(args).get("padding") in ("valid", 0):
        raise UsageError(
            f"--border has no effect on --padding {args.padding}: no value beyond the border is used",
            "Leave out --border, or --padding.",
        )
    read = read_input(args.input, "grey" in vars(args))
    _check_place(args, read.signal)
    chosen = None
    stages: list[FilterStage] = []
    options = {flag: vars(args)[flag] for flag in _FILTER_FLAGS if flag in vars(args)}
    if kernel_text is not None:
        chosen = choose_kernel(kernel_text, given, read.signal)
        if chosen.bank:
            if pooling is not None:
                raise UsageError(
                    "--pool after a bank of kernels", "Pool the result of one kernel, or leave --pool out."
                )
            return filter_output.run_bank(args, read, chosen, options, outputs)
        kernel = next(iter(chosen.kernels.values()))
        stages.append(filter_stage(read.values, kernel, chosen.title, signal=read.signal, **options))
    if pooling is not None:
        sizes = {"size": vars(args).get("pool_size", 2), "stride": vars(args).get("pool_stride")}
        source = stages[-1].result if stages else read.values
        stages.append(pool_stage(source, pooling, signal=read.signal, **sizes))
    return filter_output.run_stages(args, read, chosen, stages, outputs)


_FILTER_FLAGS = ("convolve", "border", "stride", "dilation", "padding")


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "filter", "Filter an image, a grid or a signal with a kernel, pool it, and show the arithmetic of an output."
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("input", metavar="INPUT", help="Image file, .csv of numbers (one row or column: a signal), or "
                        "an example below")  # fmt: skip
    parser.add_argument("--kernel", metavar="KERNEL", help='A name below, typed rows as "0 1 0; 1 -4 1; 0 1 0", '
                        "or a .csv (default: that of the example)")  # fmt: skip
    parser.add_argument("--convolve", action="store_true", help="Convolution, which flips the kernel (default: "
                        "correlation, as in deep learning)")  # fmt: skip
    parser.add_argument("--border", choices=list(BORDER_NAMES), help="Values beyond the border (default zero)")
    parser.add_argument("--padding", type=_padding, metavar="P", help="Padding: same, valid, or N values at each end "
                        "(default same)")  # fmt: skip
    parser.add_argument("--stride", type=whole, metavar="S", help="Distance of outputs in pixels, from 1 (default 1)")
    parser.add_argument("--dilation", type=whole, metavar="D", help="Distance of kernel elements, from 1 (default 1)")
    parser.add_argument("--pool", choices=list(POOLING_NAMES), help="Pool, after the kernel if there is one")
    parser.add_argument("--pool-size", type=whole, metavar="K", help="Rows and columns of a pooling window (default 2)")
    parser.add_argument("--pool-stride", type=whole, metavar="S", help="Distance of windows (default: their size)")
    parser.add_argument("--grey", action="store_true", help="Filter the grey image instead of each colour channel")
    parser.add_argument("--at", type=_place, metavar="X,Y", help="Print the arithmetic of the output in column X, row "
                        "Y, from 0; X of a signal")  # fmt: skip
    parser.add_argument("--out", action="append", metavar="FILE", help="Write .html (page), .png (image), .csv or "
                        ".npz (exact numbers), overwritten if it exists; may be repeated")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="Print one JSON object")
    add_kernel_settings(parser)
    add_view_flags(parser)
    lists = {
        "examples": EXAMPLE_NAMES,
        "kernels": KERNEL_NAMES,
        "banks of kernels": BANK_NAMES,
        "borders": BORDER_NAMES,
    }
    width = max(len(name) for entries in lists.values() for name in entries)
    parser.epilog = "\n".join(
        f"{title}:\n" + "\n".join(f"  {name:<{width}}  {summary}" for name, summary in entries.items()) + "\n"
        for title, entries in lists.items()
    )
    return parser


def _padding(text: str) -> str | int:
    if text in ("same", "valid"):
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be same, valid or a whole number, not {text!r}")
    return int(text[:9])


def _place(text: str) -> tuple[int, int] | int:
    return pair(text) if "," in text else whole(text)


def _check_place(args: argparse.Namespace, signal: bool) -> None:
    """Make --at a pair; raises UsageError for one number where the input has two axes."""
    at = vars(args).get("at")
    if isinstance(at, int):
        if not signal:
            raise UsageError(f"--at {at} names a column of a signal, and {args.input} has rows and columns",
                             f"Give both: --at {at},0.")  # fmt: skip
        args.at = (at, 0)
