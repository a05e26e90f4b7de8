"""`snellen train DATA`: train one model, evaluate it, write the report."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snellen.cli import terminal
from snellen.cli.main import make_parser, unrecognised
from snellen.cli.options import (
    CustomLearners,
    add_compute_options,
    add_data_options,
    add_task_option,
    all_settings,
    check_data_exists,
    check_names,
    format_value,
    int_at_least,
    open_data,
    parse_settings,
    run_options,
    settings_help,
    split_settings,
)
from snellen.core import catalog
from snellen.core.errors import UsageError, suggest_name

if TYPE_CHECKING:
    from snellen.core.experience import Experience
    from snellen.core.learner import Learner
    from snellen.core.spec import Preprocessing, Spec
    from snellen.model_selection.cross_validation import Folds


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    parser = make_parser("train", "Train one model on DATA, evaluate it on the test split, and write its report.")
    parser.add_argument(
        "data", nargs="?", metavar="DATA", help="Folder, file, or name of a dataset (see snellen list data)"
    )
    parser.add_argument("--model", metavar="NAME", help="Model (default: chosen by the data; see snellen list models)")
    add_task_option(parser)
    parser.add_argument("--out", metavar="FOLDER", help="Output folder of the run (default: new under runs/)")
    parser.add_argument(
        "--resume", metavar="RUN", help="Resume an interrupted run; bit-identical to an uninterrupted one"
    )
    parser.add_argument(
        "--folds",
        type=int_at_least(2),
        metavar="K",
        help="Number of cross-validation folds, at least 2 (default: none, one split)",
    )
    parser.add_argument("--skip-test", action="store_true", help="Evaluate on the validation split only")
    parser.add_argument(
        "--explain", action="store_true", help="Print every setting and the origin of its value, then train"
    )
    parser.add_argument("--json", action="store_true", help="Print the result as one JSON line")
    add_data_options(parser)
    add_compute_options(parser)
    known = all_settings(custom)
    typed, other_arguments = split_settings(arguments, known)
    if "-h" in other_arguments or "--help" in other_arguments:
        return _print_help(parser, other_arguments, custom)
    args, unknown = parser.parse_known_args(other_arguments)
    if unknown:
        raise unrecognised(parser, "train", unknown[0], [setting.flag for setting in known.values()])
    if "resume" in args:
        _check_resumed(args, typed)
    check_data_exists(args)
    check_names(vars(args).get("task"), [args.model] if "model" in args else [], custom)

    from snellen import api
    from snellen.api.lookup import resolve_available
    from snellen.core.record import read_record
    from snellen.core.settings import check_effects, flatten

    progress = terminal.ProgressBar(quiet="json" in args)
    options = run_options(args, progress=progress, evaluate_test="skip_test" not in args)
    custom_by_name = {learner.name: learner for learner in custom}
    try:
        if "resume" in args:
            trained = api.resume(
                args.resume, learner=custom_by_name.get(read_record(Path(args.resume)).learner), options=options
            )
        else:
            if "data" not in args:
                raise UsageError("snellen train needs data", "Use snellen train DATA; see snellen list data.")
            data = open_data(args)
            progress.message(f"{args.data}: {data.recognised_as}")
            for finding in data.findings:
                progress.message(f"{finding.severity}: {finding.text}")
            task = api.find_task(vars(args).get("task"), data.spec)
            name = vars(args).get("model")
            data = api.for_task(data, task)
            learner = custom_by_name[name] if name in custom_by_name else api.find_learner(name, task, data.spec)
            values = parse_settings(typed, learner, known)
            progress.message(f"task {task.name}: {task.question}")
            progress.message(f"model {learner.name}: {learner.summary}")
            chosen, sources, _ = resolve_available(learner, values, data.spec)
            check_effects(chosen, values)
            scaling = scaling_text(learner, chosen, data)
            if scaling:
                progress.message(scaling)
            if "explain" in args:
                rows = [
                    [s.flag, format_value(s.default), sources[s.name], s.help]
                    for s in flatten(learner.settings, chosen)
                ]
                rows += _image_size_row(data.spec, learner.preprocessing_of(chosen, data.spec))
                terminal.print_message(terminal.table(["setting", "value", "origin", "meaning"], rows))
            if "folds" in args:
                from snellen.model_selection.cross_validation import cross_validate

                folds = cross_validate(
                    data,
                    learner,
                    args.folds,
                    seed=vars(args).get("seed", 0),
                    out=vars(args).get("out"),
                    settings=values,
                    options=options,
                    command=api.command_line(),
                )
                progress.end()
                print_folds(folds, as_json="json" in args)
                return 0
            trained = api.train(
                data,
                learner,
                task=task.name,
                seed=vars(args).get("seed", 0),
                out=vars(args).get("out"),
                options=options,
                command=api.command_line(),
                **values,
            )
    finally:
        progress.end()
    print_result(trained, as_json="json" in args)
    return 0


_OF_RESUMED = ("resume", "device", "threads", "save_every", "skip_test", "json")  # flags that a resumed run uses


def _check_resumed(args: argparse.Namespace, settings: Mapping[str, str]) -> None:
    """Raise UsageError for an argument that has no effect on a resumed run: it has its data, model and settings."""
    names = [name for name in (*vars(args), *settings) if name not in _OF_RESUMED]
    if names:
        given = "DATA" if names[0] == "data" else f"--{names[0].replace('_', '-')}"
        own = [f"--{name.replace('_', '-')}" for name in _OF_RESUMED[1:]]
        raise UsageError(
            f"--resume uses the data, model and settings of the run: {given} has no effect",
            f"Give --resume RUN alone, or with {', '.join(own[:-1])} or {own[-1]}.",
        )


def _image_size_row(spec: Spec, preprocessing: Preprocessing) -> list[list[str]]:
    """The row of --explain for the image size."""
    from snellen.data.image_size import explain_size

    if not spec.input.has_pixels:
        return []
    size = "any" if preprocessing.size is None else f"{preprocessing.size[1]}x{preprocessing.size[0]}"
    return [["images", size, explain_size(spec, preprocessing), "Width and height that images are resized to."]]


def print_result(trained: object, *, as_json: bool) -> None:
    """Print the metrics and the path of the report."""
    from snellen.api import TrainedRun
    from snellen.core.serialization import to_plain

    assert isinstance(trained, TrainedRun)
    metrics = trained.metrics
    if as_json:
        terminal.print_json(
            {
                "run": str(trained.folder),
                "learner": trained.record.learner,
                "headline": trained.headline,
                "metrics": {name: to_plain(metric) for name, metric in metrics.items()},
            }
        )
        return
    order = [trained.headline, *(name for name in metrics if name != trained.headline)]
    over = metrics[trained.headline].over or "samples"
    column = f"test, ± 95 % over {over}" if any(metric.low is not None for metric in metrics.values()) else "test"
    print(terminal.table(["metric", column], [[name, metrics[name].text(over)] for name in order]))
    terminal.print_interval_note(metrics.values())
    report = trained.folder / "report.html"
    terminal.print_text(f"\nrun:    {trained.folder}")
    if report.exists():
        terminal.print_text(f"report: {report}")


def print_folds(folds: Folds, *, as_json: bool) -> None:
    """Print the headline metric of every fold, and the mean with its confidence interval."""
    from snellen.core.serialization import to_plain

    if as_json:
        terminal.print_json(
            {
                "folder": str(folds.folder),
                "learner": folds.learner,
                "headline": folds.headline,
                "folds": to_plain(folds.each),
                "mean": to_plain(folds.mean),
            }
        )
        return
    rows = [[f"fold-{number}", metric.cell] for number, metric in enumerate(folds.each, 1)]
    over = next((metric.over for metric in folds.each if metric.over), "samples")
    print(terminal.table(["fold", f"{folds.headline} (test), ± 95 % over {over}"], rows))
    terminal.print_interval_note(folds.each)
    terminal.print_text(
        f"\nmean: {folds.mean}, ± 95 % over {len(rows)} folds, corrected for shared training "
        f"samples (Nadeau and Bengio)\n\nruns: {folds.folder}"
    )


def scaling_text(learner: Learner[Any, Any, Any], settings: Any, data: Experience) -> str:
    """That the learner reads images at another size than they have, or ""."""
    size, own = learner.preprocessing_of(settings, data.spec).size, data.spec.input.size
    if size is None or own is None or size == own:
        return ""
    return f"images: scaled from {own[1]}x{own[0]} (width x height) to {size[1]}x{size[0]}"


def _print_help(parser: argparse.ArgumentParser, other_arguments: Sequence[str], custom: CustomLearners) -> int:
    print(parser.format_help())
    model = next((b for a, b in itertools.pairwise(other_arguments) if a == "--model"), None)
    if model is None:
        print("Settings of a model: snellen train --model NAME --help")
        return 0
    from snellen.core.settings import flatten

    custom_settings = {learner.name: tuple(flatten(learner.settings)) for learner in custom}
    settings_by_task = {task: tuple(settings.values()) for task, settings in catalog.settings_of(model).items()}
    if model in custom_settings:
        settings_by_task["custom"] = custom_settings[model]
    if not settings_by_task:
        names = [entry.name for task in catalog.tasks().values() for entry in task.learners] + list(custom_settings)
        raise UsageError(f"Unknown model {model!r}", suggest_name(model, names))
    for task, settings in settings_by_task.items():
        print(f"settings of {model} ({task}):\n{settings_help(settings) or '  none'}\n")
    return 0
