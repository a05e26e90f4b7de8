"""`snellen trace [NETWORK]`: every number of a forward and a backward pass of a small network, checked."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snellen.cli import terminal
from snellen.cli.main import make_parser
from snellen.cli.options import CustomLearners, int_at_least
from snellen.cli.output_files import check_outputs
from snellen.core.errors import Mismatch, UsageError, counted, short_repr, suggest_name
from snellen.trace.names import ACTIVATION_NAMES, EXAMPLE_SUMMARIES, LOSS_NAMES

if TYPE_CHECKING:
    from snellen.trace.descent import NetworkTrace, SeedOutcomes
    from snellen.trace.network import TracedNetwork
    from snellen.trace.remarks import Remark

DEFAULT = "lecture003"
NUMBERS = ("inputs", "target", "weights", "biases")  # flags of numbers, which may begin with a minus sign
OWN = ("hidden", "activation", "output_activation", "loss", "no_bias", "weights", "biases")  # describe a custom network
_OTHER = (("inputs", "inputs"), ("targets", "target"), ("learning rate", "lr"))
LOSS_ROWS = 25  # rows of the table of losses


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    args = _parser().parse_args(_joined(arguments))
    typed = vars(args)
    if "list" in typed:
        if other := [flag for flag in typed if flag not in ("list", "json")]:
            flag = "NETWORK" if other[0] == "network" else f"--{other[0].replace('_', '-')}"
            raise UsageError(f"{flag} has no effect on --list", f"Leave out {flag}, or --list.")
        return _list(typed)
    network, steps, seeds, title, remarks = _network(typed)
    steps, seeds = typed.get("steps", steps), typed.get("seeds", seeds)
    show = typed.get("show", [0])
    out = _out_path(typed)

    from snellen.trace.descent import trace_network, train_seeds
    from snellen.trace.summary import trace_json

    trace = trace_network(network, steps, show)
    outcomes = train_seeds(network, seeds, steps) if seeds else None
    if out is not None:
        from snellen.core import file_io
        from snellen.report.pages.trace import trace_page

        file_io.write_text(out, trace_page(trace, title, outcomes, remarks))
    if "json" in typed:
        terminal.print_json(trace_json(trace, outcomes))
    else:
        _print(trace, title, show, outcomes, remarks)
        if out is not None:
            terminal.print_text(f"\n{out}")
    if not trace.agrees:
        raise Mismatch(
            "The written backward pass disagrees with autograd or with finite differences",
            "This is a fault in Snellen: report it with the output of --json.",
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "trace",
        "Run a small network forward and backward and print every number: pre-activations,\n"
        "activations, loss, δ, gradients and updated weights, each gradient beside autograd and\n"
        "finite differences.",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    width = max(map(len, EXAMPLE_SUMMARIES))
    lines = [f"  {name:<{width}}  {line}" for name, line in EXAMPLE_SUMMARIES.items()]
    parser.epilog = "examples:\n" + "\n".join(lines)
    parser.add_argument(
        "network",
        nargs="?",
        metavar="NETWORK",
        help="Example by name, or a JSON file of a network, as --json prints it (default: lecture003, unless --inputs "
        "describes a custom network)",
    )
    parser.add_argument("--list", action="store_true", help="List the built-in examples")
    own = parser.add_argument_group("custom network (a multi-layer perceptron)")
    own.add_argument(
        "--inputs", metavar="NUMBERS", type=_rows, help="Inputs of each sample; a semicolon begins the next: '0,0;0,1'"
    )
    own.add_argument("--target", metavar="NUMBERS", type=_rows, help="Targets of each sample, as '0;1'")
    own.add_argument(
        "--hidden",
        metavar="N[,N]",
        type=_sizes,
        help="Units of each hidden layer, or 0 for no hidden layer (default 2)",
    )
    own.add_argument(
        "--activation",
        choices=[n for n in ACTIVATION_NAMES if n != "softmax"],
        help="Hidden activation (default sigmoid)",
    )
    own.add_argument(
        "--output-activation", choices=ACTIVATION_NAMES, help="Activation of the outputs (default: that of the loss)"
    )
    own.add_argument(
        "--loss",
        choices=LOSS_NAMES,
        help="Loss, summed over samples and outputs; bce has sigmoid outputs, cross-entropy softmax (default "
        "half-squared, with linear outputs)",
    )
    own.add_argument("--no-bias", action="store_true", help="Layers without biases")
    own.add_argument(
        "--weights",
        metavar="NUMBERS",
        type=_numbers,
        help="All weights, by layer, by unit, then by input (default: drawn with --seed, normal, deviation 1/√n of n "
        "inputs)",
    )
    own.add_argument("--biases", metavar="NUMBERS", type=_numbers, help="All biases, by layer and unit (default 0)")
    parser.add_argument("--lr", type=_rate, metavar="RATE", help="Learning rate (default: of the example, or 0.1)")
    parser.add_argument("--seed", type=int_at_least(0), help="Random seed of weights that are drawn (default 0)")
    parser.add_argument(
        "--steps",
        type=int_at_least(0),
        metavar="N",
        help="Updates of gradient descent, at most 10,000 (default: of the example, or 1)",
    )
    parser.add_argument(
        "--show",
        metavar="K[,K]",
        type=_updates,
        help="Numbers of updates after which all numbers are printed (default 0: before the first)",
    )
    parser.add_argument(
        "--seeds",
        type=int_at_least(0),
        metavar="N",
        help="Train from the seeds 0 to N-1 as well, at most 1,000, and print the fraction that succeeds; 0: none "
        "(default: 100 for xor, else 0)",
    )
    parser.add_argument("--out", metavar="FILE.html", help="Page to write, overwritten if it exists (default: none)")
    parser.add_argument("--json", action="store_true", help="Print one JSON object")
    return parser


def _joined(arguments: Sequence[str]) -> list[str]:
    """Arguments with "--inputs -1,2" as "--inputs=-1,2": argparse takes a value with a minus sign for a flag."""
    words: list[str] = []
    for word in arguments:
        previous = words[-1].removeprefix("--") if words else ""
        if previous in NUMBERS and words[-1].startswith("--") and re.match(r"-[\d.]", word):
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def _numbers(text: str) -> list[float]:
    """The numbers of "0.1,-2"; raises ArgumentTypeError for anything else."""
    values = []
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or "_" in part:
            raise argparse.ArgumentTypeError(f"{short_repr(part)} is not a finite number, in {short_repr(text)}")
        values.append(value)
    return values


def _rows(text: str) -> list[list[float]]:
    """The samples of "0,0;0,1"."""
    return [_numbers(row) for row in text.strip().strip(";").split(";")]


def _whole(text: str, smallest: int) -> list[int]:
    values = []
    for part in text.split(","):
        if not re.fullmatch(r"\s*\d{1,9}\s*", part, re.ASCII) or int(part) < smallest:
            raise argparse.ArgumentTypeError(f"{short_repr(part)} is not a whole number of at least {smallest}")
        values.append(int(part))
    return values


def _sizes(text: str) -> list[int]:
    return [] if text.strip() == "0" else _whole(text, 1)


def _updates(text: str) -> list[int]:
    return sorted(set(_whole(text, 0)))


def _rate(text: str) -> float:
    value = _numbers(text)
    if len(value) != 1 or value[0] <= 0:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {short_repr(text)}")
    return value[0]


def _out_path(typed: dict[str, Any]) -> Path | None:
    """The page to write; raises UsageError before anything is computed."""
    if "out" not in typed:
        return None
    path = Path(typed["out"])
    if path.is_dir():
        raise UsageError(f"{path} is a folder", f"Give a file: --out {path / 'trace.html'}.")
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{path} does not end in .html", f"Use such a suffix: --out {path.with_suffix('.html')}.")
    check_outputs([path], {"the network": typed.get("network", "")})
    return path


def _list(typed: dict[str, Any]) -> int:
    if "json" in typed:
        terminal.print_json(EXAMPLE_SUMMARIES)
        return 0
    terminal.print_text(terminal.table(("example", "network"), list(EXAMPLE_SUMMARIES.items())))
    return 0


def _network(typed: dict[str, Any]) -> tuple[TracedNetwork, int, int, str, list[Remark]]:
    """The network that was asked for: steps, seeds, title and remarks with it."""
    from snellen.trace.building import mlp
    from snellen.trace.examples import EXAMPLES

    name, own = typed.get("network"), [flag for flag in OWN if flag in typed]
    if name is None and (own or "inputs" in typed or "target" in typed):
        for flag in ("inputs", "target"):
            if flag not in typed:
                raise UsageError(f"A custom network needs --{flag}", "For example: --inputs 2,3 --target 1.")
        if "activation" in typed and not typed.get("hidden", [2]):
            raise UsageError(
                "--activation has no effect on --hidden 0: there is no hidden layer",
                "Leave it out, or give --output-activation.",
            )
        flags = {flag: typed[flag] for flag in OWN if flag in typed and flag != "no_bias"}
        network = mlp(
            typed["inputs"],
            typed["target"],
            bias="no_bias" not in typed,
            lr=typed.get("lr", 0.1),
            seed=_seed(typed, "weights" not in typed, "a custom network with --weights"),
            **flags,
        )
        return network, 1, 0, "A custom network", []
    if own:
        raise UsageError(
            f"--{own[0].replace('_', '-')} describes a custom network, and {name} is given",
            "Leave out one of both; a custom network is described by --inputs and --target.",
        )
    name = DEFAULT if name is None else name
    if name in EXAMPLE_SUMMARIES:
        entry = EXAMPLES[name]
        is_random = entry.build(0).seed is not None
        network = entry.build(_seed(typed, is_random, name))
        changed = _changed(network, typed)
        remarks = [] if any(flag in typed for flag in ("inputs", "target", "lr")) else entry.remarks(network)
        other = [f"other {what}" for what, flag in _OTHER if flag in typed]
        title = f"{entry.title}, with {' and '.join(other)}" if other else entry.title
        return changed, entry.steps, entry.seeds, title, remarks
    path = Path(name)
    if path.suffix.lower() != ".json" and not path.exists():
        remedy = suggest_name(name, list(EXAMPLE_SUMMARIES))
        raise UsageError(
            f"{short_repr(name)} is neither an example nor a JSON file", f"{remedy} See snellen trace --list."
        )

    from snellen.trace.network_file import read_network

    network = read_network(path)
    if "seed" in typed:
        raise UsageError("--seed is for examples and networks of flags", f'Give "seed" in {path}.')
    return _changed(network, typed), 1, 0, network.name, []


def _seed(typed: dict[str, Any], is_random: bool, what: str) -> int:
    if "seed" in typed and not is_random:
        raise UsageError(f"The weights of {what} are given: --seed changes nothing", "Leave out --seed.")
    return int(typed.get("seed", 0))


def _changed(network: TracedNetwork, typed: dict[str, Any]) -> TracedNetwork:
    """The network with other inputs, targets and learning rate, where these were typed."""
    import dataclasses

    import numpy as np

    from snellen.trace.building import table

    values: dict[str, Any] = {}
    for flag, name, shape in (("inputs", "inputs", network.shapes[0]), ("target", "targets", network.shapes[-1])):
        if flag in typed:
            rows = table(typed[flag], name)
            if rows.shape[1] != int(np.prod(shape)):
                count = counted(rows.shape[1], "number")
                raise UsageError(
                    f"--{flag} has {count} per sample, and {network.name} takes {int(np.prod(shape))}",
                    "Give them in row order; a semicolon begins the next sample.",
                )
            values[name] = rows.reshape(len(rows), *shape)
    if "lr" in typed:
        values["lr"] = typed["lr"]
    given = {f.name: getattr(network, f.name) for f in dataclasses.fields(network) if f.init}
    return type(network)(**{**given, **values}) if values else network


def _print(
    trace: NetworkTrace, title: str, show: Sequence[int], outcomes: SeedOutcomes | None, remarks: Sequence[Remark]
) -> None:
    from snellen.trace.labels import describe
    from snellen.trace.losses import LOSSES
    from snellen.trace.summary import check_lines, format_value, parameter_table, unit_table

    network = trace.network
    origin = f", weights drawn with seed {network.seed}" if network.seed is not None else ""
    terminal.print_text(title)
    terminal.print_text(describe(network))
    terminal.print_text(f"E = {LOSSES[network.loss].formula}, --lr {network.lr:g}{origin}")
    for updates in show:
        state = trace.state(updates)
        terminal.print_text(f"\nafter {counted(updates, 'update')}: E = {state.traced.loss:.10g}")
        columns, rows = unit_table(state)
        terminal.print_text(terminal.table(columns, rows))
        columns, rows = parameter_table(state)
        terminal.print_text("\n" + terminal.table(columns, rows) if rows else "\nNo parameters: nothing is updated.")
    if trace.steps:
        is_single = len(network.inputs) == 1 and len(network.shapes[-1]) == 1
        chosen = _chosen(trace.steps, [state.updates for state in trace.states])
        rows = []
        for k in chosen:
            stored = next((state for state in trace.states if state.updates == k), None)
            outputs = ", ".join(map(format_value, stored.traced.a[-1].ravel()[:3])) if stored and is_single else ""
            rows.append([str(k), f"{trace.losses[k]:.7g}", *([outputs] if is_single else [])])
        terminal.print_text("\n" + terminal.table(["updates", "E", *(["output"] if is_single else [])], rows))
    for remark in remarks:
        _print_remark(remark)
    if outcomes is not None:
        terminal.print_text("\n" + "\n".join(_wrapped(seeds_text(outcomes))))
    terminal.print_text("")
    for line in check_lines(trace):
        terminal.print_text("\n".join(_wrapped(line)))


def _chosen(steps: int, stored: Sequence[int]) -> list[int]:
    """Numbers of updates in the table of losses: all, or some of those that are stored, with the last."""
    if steps < LOSS_ROWS:
        return list(range(steps + 1))
    spread = [stored[round(k * (len(stored) - 1) / (LOSS_ROWS - 1))] for k in range(LOSS_ROWS)]
    return sorted({0, *spread, steps})


def _print_remark(remark: Remark) -> None:
    terminal.print_text(f"\n{remark.title}")
    for line in remark.lines:
        terminal.print_text("\n".join(_wrapped(line)))
    if remark.rows:
        terminal.print_text(terminal.table(remark.columns, remark.rows))


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 80, break_long_words=False, break_on_hyphens=False)


def seeds_text(outcomes: SeedOutcomes) -> str:
    """The fraction of seeds that succeed, with its interval, in a sentence."""
    from snellen.core.views import Metric

    count, right = len(outcomes.succeeded), sum(outcomes.succeeded)
    metric = Metric(value=outcomes.fraction, low=outcomes.low, high=outcomes.high, percent=True)
    failed = [str(seed) for seed, good in enumerate(outcomes.succeeded) if not good]
    verb = "succeeds" if count == 1 else "succeed"
    listed = f" Seeds that fail: {', '.join(failed[:12])}{', …' if len(failed) > 12 else ''}." if failed else ""
    updates = counted(outcomes.steps, "update")
    return (
        f"Seeds: {right} of {count} {verb} after {updates}, {metric} (Wilson's 95 % interval over "
        f"seeds). A seed succeeds if every output is within 0.5 of its target.{listed}"
    )
