"""Options shared by several verbs, and learner settings as flags."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from snellen.cli.motion_options import add_motion_flags
from snellen.cli.series_options import add_series_options
from snellen.core import catalog, legacy_names
from snellen.core.errors import DataError, UsageError, suggest_name
from snellen.core.settings import Setting, flatten

if TYPE_CHECKING:
    from snellen.api import RunOptions, TrainedRun
    from snellen.core.experience import Experience
    from snellen.core.learner import Learner

CustomLearners = Sequence["Learner[Any, Any, Any]"]


STATISTICS_HELP = "Correlation of pixels of images at distances up to D (default: half of the shorter side, at most 32)"


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of opening data."""
    group = parser.add_argument_group("data")
    group.add_argument("--data-format", metavar="FORMAT", help="Data format (default: detected; see snellen list data)")
    group.add_argument(
        "--target",
        metavar="COLUMN[,COLUMN]",
        help="Target: columns of a table, arrays, kind of annotation, such as instances or depth, or for recordings a "
        "file-name pattern such as '{word}_*'; none: no target, for tasks without one (default: chosen by the data "
        "format)",
    )
    group.add_argument(
        "--inputs",
        metavar="NAME[,NAME]",
        help="Inputs: columns of a table, of which a column of images and others are two inputs of each sample; arrays "
        "of an NPZ or HDF5 file, such as skeleton,depth:clip; inputs of built-in data. An input may be missing in a "
        "sample (default: the images, else all columns but the target; one array)",
    )
    group.add_argument(
        "--sequence-id",
        metavar="COLUMN",
        help="Column of a table with the id of a sequence: the rows of one id are its steps (default: each row is a "
        "sample)",
    )
    group.add_argument(
        "--time",
        metavar="COLUMN",
        help="Column of a table by which the steps of a sequence are ordered, of numbers or dates (default: the order "
        "of the file; to forecast, the first column of dates)",
    )
    group.add_argument(
        "--row-steps",
        type=int,
        metavar="N",
        help="Steps of the sequence in each row of a table: its columns are the features of the first step, then of "
        "the second ... (default: each row is a vector)",
    )
    group.add_argument(
        "--group",
        metavar="COLUMN|PATTERN|exif|consecutive",
        help="Group of each sample, which stays in one split: a column, a file-name pattern such as '{slide}_*', exif "
        "(bursts of one camera), or consecutive (runs of rows of a table that are nearly the same as the one before)",
    )
    group.add_argument(
        "--impute",
        choices=["median"],
        help="Impute missing numbers with the column median (default: missing numbers are an error)",
    )
    group.add_argument(
        "--modality",
        choices=["image", "sequence", "points", "clip", "volume"],
        help="How to read arrays: image, (N, H, W); sequence, (N, T, D), T steps of D features; points, (N, P, D), P "
        "points of D numbers; clip, (N, T, H, W), T frames; volume, (N, Z, Y, X); images, clips and volumes also with "
        "an axis of 1 to 4 channels (default: by their lengths and type, which is printed)",
    )
    for flag, text in (
        ("--horizon", "Steps of a recording to forecast (default 10, fewer of short recordings)"),
        ("--window", "Steps that a forecast is made from (default: twice the horizon)"),
        ("--window-stride", "Steps between the starts of two windows of a recording (default 1)"),
    ):
        group.add_argument(flag, metavar="STEPS", type=int_at_least(1), help=text)
    add_motion_flags(group)
    add_series_options(group, int_at_least(1))
    group.add_argument(
        "--pages",
        choices=["first", "max", "each"],
        type=_pages_choice,
        help="Pages of a multi-page file: first; max, the pixel-wise maximum; each, one sample per page (default: a "
        "stack is an error)",
    )
    group.add_argument(
        "--nodata",
        type=_nodata,
        metavar="VALUE|none",
        help="Value of pixels without data in images of more than 8 bits, as --nodata=-9999: they get the median of "
        "the other pixels; none: no value is doubted (default: a value that looks like it is an error)",
    )
    group.add_argument(
        "--mesh-points",
        metavar="N",
        type=int_at_least(1),
        help="Points that are sampled from the surface of each mesh, uniformly by area (default 1024)",
    )
    group.add_argument(
        "--mesh-samples",
        metavar="N",
        type=int_at_least(1),
        help="Samples of points taken from each mesh; all of them are in one split (default 1)",
    )
    group.add_argument(
        "--surface-side",
        metavar="PIXELS",
        type=int_at_least(1),
        help="Longer side to which an image that is fitted as a surface (--task regress) is reduced; each pixel is a "
        "sample, at most 1024 (default 128)",
    )
    group.add_argument(
        "--sample-rate",
        metavar="HZ",
        type=int_at_least(100),
        help="Samples per second to which recordings are resampled, in training, prediction and serving (default: that "
        "of the files, which is one for all)",
    )
    group.add_argument(
        "--split-seed",
        metavar="N",
        type=int_at_least(0),
        help="Random seed of generated splits, folds and built-in data (default 0)",
    )
    group.add_argument(
        "--range",
        metavar="LOW,HIGH",
        help="Value range from black to white of images of more than 8 bits; values outside are clipped "
        "(default: percentiles 0.1 and 99.9 of the training split)",
    )
    group.add_argument(
        "--cache",
        metavar="auto|ram|off|SIZE",
        help="Cache of decoded images. auto: in RAM, else in files of at most a tenth of the free disk; ram: in RAM "
        "only; off: none; SIZE, such as 20G (G: 10⁹ bytes): as auto, but files of at most SIZE in total (default auto)",
    )
    group.add_argument(
        "--quarantine",
        action="store_true",
        help="Skip unusable samples, at most 1 %% of all, and list them in quarantine.jsonl of the run (default: "
        "they are an error)",
    )
    group.add_argument(
        "--allow-skipped", action="store_true", help="Allow --quarantine to skip more than 1 %% of the samples"
    )


def _pages_choice(text: str) -> str:
    """A value of --pages; raises UsageError with a reason for `volume`."""
    if text == "volume":
        from snellen.data.decode.image_files import validate_pages

        validate_pages(text)
    return text


def _nodata(text: str) -> float | str:
    """A value of --nodata: a number, or "none"."""
    try:
        value = text if text == "none" else float(text)
    except ValueError:
        value = math.nan
    if isinstance(value, float) and not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a number or none, not {text!r}")
    return value


def add_compute_options(parser: argparse.ArgumentParser, seed: bool = True) -> None:
    """Add the options of device, threads, checkpoints and, unless the command chooses it, the seed of training."""
    group = parser.add_argument_group("compute")
    if seed:
        group.add_argument(
            "--seed",
            type=int_at_least(0),
            help="Random seed of training: initialisation, sampling, augmentation (default 0)",
        )
    group.add_argument("--device", metavar="NAME", help="Device: auto, cpu, cuda or mps (default auto)")
    group.add_argument(
        "--threads",
        type=int_at_least(1),
        metavar="N",
        help="Number of CPU threads, at least 1 (default: one for a small network, else one or all, by a trial)",
    )
    group.add_argument(
        "--save-every",
        type=seconds,
        metavar="SECONDS",
        help="Seconds between checkpoints, 0: after every step (default 30)",
    )


def int_at_least(minimum: int) -> Callable[[str], int]:
    """A parser of 64-bit integers of at least `minimum`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if not minimum <= value < 1 << 63:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {minimum}, not {text!r}")
        return value

    return read


def seconds(text: str) -> float:
    """Parse seconds, a number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"must be seconds, at least 0, not {text!r}")
    return value


def check_data_exists(args: argparse.Namespace) -> None:
    """Raise DataError if the data that the arguments name is no path and no dataset, before torch is imported."""
    from snellen.data.names import BUILTIN_NAMES, NAMED

    known, name = [*BUILTIN_NAMES, *NAMED], vars(args).get("data")
    if name == "":
        raise DataError("The name of DATA is empty", "Give a folder, a file, or the name of a dataset.")
    if name is not None and name not in known and not os.path.lexists(os.path.expanduser(name)):
        raise DataError(f"{name} does not exist", suggest_name(name, known))


def check_names(task: str | None, models: Sequence[str], custom: CustomLearners) -> None:
    """Raise UsageError if there is no task or model of a name, before any data is read."""
    tasks = catalog.tasks()
    if task is not None and legacy_names.TASKS.get(task, task) not in tasks:
        raise UsageError(f"Unknown task {task!r}", suggest_name(task, list(tasks)))
    known = dict.fromkeys(learner.name for entry in tasks.values() for learner in entry.learners)
    known |= dict.fromkeys(learner.name for learner in custom)
    for name in models:
        if name not in known:
            raise UsageError(f"Unknown model {name!r}", suggest_name(name, list(known)))


def add_task_option(parser: argparse.ArgumentParser) -> None:
    text = "Task (default: inferred from the targets; cluster and generate need no target; see snellen list tasks)"
    parser.add_argument("--task", metavar="NAME", help=text)


def open_data(args: argparse.Namespace) -> Experience:
    """Open the dataset that the arguments name."""
    import dataclasses

    check_data_exists(args)
    from snellen.data.cache import parse_cache_limit
    from snellen.data.experience import open_experience, require_samples
    from snellen.data.formats import OpenOptions, is_future_task, needs_no_target, target_of_task

    values = vars(args)
    target, inputs, known = values.get("target"), values.get("inputs"), values.get("known")
    options = OpenOptions(
        format=values.get("data_format"),
        target=tuple(target.split(",")) if target else target_of_task(values.get("task"), args.data),
        inputs=tuple(inputs.split(",")) if inputs else (),
        sequence_id=values.get("sequence_id"),
        time=values.get("time"),
        row_steps=values.get("row_steps"),
        group=values.get("group"),
        impute=values.get("impute"),
        modality=values.get("modality"),
        horizon=values.get("horizon"),
        window=values.get("window"),
        stride=values.get("window_stride"),
        future=is_future_task(values.get("task")),
        known=tuple(known.split(",")) if known else (),
        calendar=values.get("calendar"),
        season=values.get("season"),
        gaps=values.get("gaps"),
        max_gap=values.get("max_gap"),
        resample=values.get("resample"),
        frame_rate=values.get("frame_rate"),
        pose=values.get("pose"),
        skeleton=values.get("skeleton"),
        pages=values.get("pages"),
        nodata=values.get("nodata"),
        mesh_points=values.get("mesh_points"),
        mesh_samples=values.get("mesh_samples"),
        surface_side=values.get("surface_side"),
        sample_rate=values.get("sample_rate"),
        optional_target=needs_no_target(values.get("task")),
        quarantine=values.get("quarantine", False),
        allow_skipped=values.get("allow_skipped", False),
        full=values.get("full", False),
    )
    opened = open_experience(args.data, seed=values.get("split_seed", 0), options=options)
    if "cache" in values:
        parse_cache_limit(values["cache"])  # raises UsageError early
        opened = dataclasses.replace(require_samples(opened, "to cache"), cache=values["cache"])
    if "range" not in values:
        return opened
    try:
        low, high = (float(part) for part in values["range"].split(","))
    except ValueError:
        raise UsageError(f"--range cannot be {values['range']!r}", "Give two numbers: --range 0,4095.") from None
    if not low < high:
        raise UsageError(f"--range {low:g},{high:g} is empty", "Give the lower number first.")
    return dataclasses.replace(require_samples(opened, "with a range of values"), value_range=(low, high))


def load_run(args: argparse.Namespace, custom: CustomLearners) -> TrainedRun:
    """Load the run that the arguments name, or the newest, whose folder is printed."""
    from pathlib import Path

    from snellen.api import load, newest_run
    from snellen.cli import terminal
    from snellen.core.record import read_record

    folder = vars(args).get("run")
    if folder is None:
        folder = newest_run()
        terminal.print_message(f"run: {folder} (the newest)")
    custom_by_name = {learner.name: learner for learner in custom}
    return load(folder, learner=custom_by_name.get(read_record(Path(folder)).learner), device=args.device)


def run_options(args: argparse.Namespace, **extra: Any) -> RunOptions:
    """The run options from the arguments and the command."""
    from snellen.api import RunOptions

    names = ("device", "threads", "save_every")
    return RunOptions(**{name: vars(args)[name] for name in names if name in args}, **extra)


def all_settings(custom: CustomLearners) -> dict[str, Setting]:
    """Every setting of every learner, by name."""
    settings_by_name: dict[str, Setting] = {}
    for task in catalog.tasks().values():
        for entry in task.learners:
            settings_by_name.update({setting.name: setting for setting in entry.settings})
    for learner in custom:
        settings_by_name.update({setting.name: setting for setting in flatten(learner.settings)})
    return settings_by_name


def split_settings(arguments: Sequence[str], known: Mapping[str, Setting]) -> tuple[dict[str, str], list[str]]:
    """Split learner settings from the other arguments.

    Returns:
        Setting name -> text as typed ("yes" and "no" for switches), and the other arguments.
    """
    typed: dict[str, str] = {}
    rest: list[str] = []
    queue = list(arguments)
    while queue:
        word = queue.pop(0)
        flag, has_value, value = word.partition("=")
        name = flag[2:].replace("-", "_") if flag.startswith("--") else ""
        negated = name.startswith("no_")
        setting = _setting(name.removeprefix("no_"), known)
        if negated and setting is not None and setting.kind == "bool":
            typed[name[3:]] = "no"
        elif negated or setting is None:
            rest.append(word)
        elif has_value:
            typed[name] = value
        elif setting.kind == "bool":
            typed[name] = "yes"
        elif queue:
            typed[name] = queue.pop(0)
        else:
            raise UsageError(f"{flag} needs a value", f"It takes {setting.accepted_values}.")
    return typed, rest


def _setting(name: str, known: Mapping[str, Setting]) -> Setting | None:
    """The setting with this current or former name; None if there is none."""
    return known.get(legacy_names.setting_name(name, known))


def parse_settings(
    typed: Mapping[str, str], learner: Learner[Any, Any, Any], known: Mapping[str, Setting]
) -> dict[str, Any]:
    """Parse typed settings for a learner; raises UsageError for a setting of other models and names those."""
    available = {setting.name: setting for setting in flatten(learner.settings)}
    values = {}
    for former, text in typed.items():
        name = current_name(former, available)
        if name not in available:
            name = legacy_names.setting_name(name, known)
            models = [
                entry.name
                for task in catalog.tasks().values()
                for entry in task.learners
                if name in {s.name for s in entry.settings}
            ]
            flags = [other.replace("_", "-") for other in sorted(available)]
            also = f" ({', '.join(dict.fromkeys(models))} has it)" if models else ""
            raise UsageError(
                f"{learner.name} has no setting --{name.replace('_', '-')}{also}",
                suggest_name(name.replace("_", "-"), flags, prefix="--"),
            )
        setting = available[name]
        if name in values:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} is given twice, once by a former name", f"Give --{flag} only once.")
        values[name] = setting.parse(legacy_names.setting_value(text, setting.choices))
    return values


def current_name(name: str, known: Collection[str]) -> str:
    """The current name of a setting; prints a message if a former name was typed."""
    from snellen.cli import terminal

    present = legacy_names.setting_name(name, known)
    if present != name:
        terminal.print_message(f"--{name.replace('_', '-')} is now --{present.replace('_', '-')}")
    return present


def settings_help(settings: Sequence[Setting]) -> str:
    """Help text of settings: flag, help, accepted values, default."""
    lines = []
    for setting in settings:
        switch = setting.kind == "bool"
        flag = f"{setting.flag}/--no-{setting.flag[2:]}" if switch else f"{setting.flag} {setting.kind.upper()}"
        if switch:
            accepted = f"switch; default {'on' if setting.default else 'off'}"
        else:
            accepted = f"takes {setting.accepted_values}; default {format_value(setting.default)}"
        lines.append(f"  {flag}\n      {setting.help} ({accepted})")
    return "\n".join(lines)


def format_value(value: Any) -> str:
    """A setting value as it would be typed."""
    if value is None:
        return "auto"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
