"""Options that several verbs share, and the settings of learners as flags."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from snellen.core import catalog, renamed
from snellen.core.errors import UsageError, nearest
from snellen.core.settings import Setting, flat

if TYPE_CHECKING:
    from snellen.api import RunOptions, TrainedRun
    from snellen.core.learner import Learner
    from snellen.data.dataset import Dataset, Labelled

Own = Sequence["Learner[Any, Any, Any]"]


def add_data(parser: argparse.ArgumentParser) -> None:
    """How the data is to be taken."""
    group = parser.add_argument_group("data")
    group.add_argument("--data-format", metavar="FORMAT", help="take it for this format (snellen list data)")
    group.add_argument("--target", metavar="COLUMN[,COLUMN]", help="the columns or arrays that are to be predicted")
    group.add_argument(
        "--group",
        metavar="COLUMN|PATTERN",
        help="samples of one group stay in one split: a column, or a pattern such as '{slide}_*'",
    )
    group.add_argument("--impute", choices=["median"], help="fill missing numbers with the column's median")
    group.add_argument(
        "--pages",
        choices=["first", "max", "each"],
        type=_pages,
        help="what a stack of pages means: its first, the largest of all, or each a sample",
    )
    group.add_argument("--range", metavar="LOW,HIGH", help="the values drawn from black to white, for deep pictures")
    group.add_argument("--cache", metavar="auto|ram|off|SIZE", help="where decoded pictures are kept (default auto)")
    group.add_argument("--quarantine", action="store_true", help="leave bad samples out and list them in a file")
    group.add_argument("--allow-skipped", action="store_true", help="quarantine may leave out more than 1 in 100")


def _pages(text: str) -> str:
    """Refuses what has a reason, which a list of choices does not give."""
    if text == "volume":
        from snellen.data.decode.image_files import meaning

        meaning(text)
    return text


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Where and how a run computes."""
    group = parser.add_argument_group("machine")
    group.add_argument("--seed", type=whole(0), help="of everything that is drawn (default 0)")
    group.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, mps (default auto)")
    group.add_argument("--threads", type=whole(1), metavar="N", help="of the CPU (default: by the size of the network)")
    group.add_argument(
        "--save-every", type=seconds, metavar="SECONDS", help="between saves (default 30; 0: every step)"
    )


def whole(least: int) -> Callable[[str], int]:
    """Reads a whole number of at least `least` that 64 bits hold."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value < 1 << 63:
            raise argparse.ArgumentTypeError(f"takes a whole number of at least {least}, not {text!r}")
        return value

    return read


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"takes seconds, 0 or more, not {text!r}")
    return value


def open_data(words: argparse.Namespace) -> Dataset[Labelled]:
    """The dataset that the words name."""
    import dataclasses

    from snellen.data.cache import allowance
    from snellen.data.formats import OpenOptions
    from snellen.data.open_dataset import dataset

    given = vars(words)
    target = given.get("target")
    options = OpenOptions(
        format=given.get("data_format"),
        target=tuple(target.split(",")) if target else (),
        group=given.get("group"),
        impute=given.get("impute"),
        pages=given.get("pages"),
        quarantine=given.get("quarantine", False),
        allow_skipped=given.get("allow_loss", False),
        full=given.get("full", False),
    )
    opened = dataset(words.data, seed=given.get("seed", 0), options=options)
    if "cache" in given:
        allowance(given["cache"])  # a wrong one is told now
        opened = dataclasses.replace(opened, cache=given["cache"])
    if "range" not in given:
        return opened
    try:
        low, high = (float(part) for part in given["range"].split(","))
    except ValueError:
        raise UsageError(f"--range cannot be {given['range']!r}", "Give two numbers: --range 0,4095.") from None
    if not low < high:
        raise UsageError(f"--range {low:g},{high:g} is empty", "Give the lower number first.")
    return dataclasses.replace(opened, value_range=(low, high))


def given_run(words: argparse.Namespace, own: Own) -> TrainedRun:
    """The run that the words name, or the newest, which is said."""
    from pathlib import Path

    from snellen.api import load, newest
    from snellen.cli import terminal
    from snellen.core.record import read_record

    folder = vars(words).get("run")
    if folder is None:
        folder = newest()
        terminal.say(f"run: {folder} (the newest)")
    ours = {learner.name: learner for learner in own}
    return load(folder, learner=ours.get(read_record(Path(folder)).learner), device=words.device)


def run_options(words: argparse.Namespace, **more: Any) -> RunOptions:
    """The machine options, beside what the verb itself decides."""
    from snellen.api import RunOptions

    names = ("device", "threads", "save_every")
    return RunOptions(**{name: vars(words)[name] for name in names if name in words}, **more)


def all_settings(own: Own) -> dict[str, Setting]:
    """Every setting of every learner, by flag name; used to tell flags from data."""
    found: dict[str, Setting] = {}
    for task in catalog.tasks().values():
        for entry in task.learners:
            found.update({setting.name: setting for setting in entry.settings})
    for learner in own:
        found.update({setting.name: setting for setting in flat(learner.settings)})
    return found


def take_settings(words: Sequence[str], known: Mapping[str, Setting]) -> tuple[dict[str, str], list[str]]:
    """Parts the settings of learners from the other words.

    Returns:
        Name -> text as typed ("yes" and "no" for switches), and the words that remain.
    """
    typed: dict[str, str] = {}
    rest: list[str] = []
    queue = list(words)
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
            raise UsageError(f"{flag} needs a value", f"It takes {setting.describes}.")
    return typed, rest


def _setting(name: str, known: Mapping[str, Setting]) -> Setting | None:
    """The setting that a flag names, by its present or its former name; None where it names none."""
    return known.get(renamed.setting_name(name, known))


def parse_settings(
    typed: Mapping[str, str], learner: Learner[Any, Any, Any], known: Mapping[str, Setting]
) -> dict[str, Any]:
    """The typed settings as the learner's own; one it has not is an error that says who has it."""
    own = {setting.name: setting for setting in flat(learner.settings)}
    values = {}
    for former, text in typed.items():
        name = present_name(former, own)
        if name not in own:
            who = [
                entry.name
                for task in catalog.tasks().values()
                for entry in task.learners
                if name in {s.name for s in entry.settings}
            ]
            also = f" ({', '.join(dict.fromkeys(who))} has it)" if who else ""
            raise UsageError(
                f"{learner.name} has no setting --{name.replace('_', '-')}{also}", nearest(name, sorted(own))
            )
        values[name] = own[name].parse(text)
    return values


def present_name(name: str, known: Collection[str]) -> str:
    """The present name of a setting; says so where another was typed."""
    from snellen.cli import terminal

    present = renamed.setting_name(name, known)
    if present != name:
        terminal.say(f"--{name.replace('_', '-')} is now --{present.replace('_', '-')}")
    return present


def settings_help(settings: Sequence[Setting]) -> str:
    """One entry a setting: flag, what it takes, its sentence and default."""
    lines = []
    for setting in settings:
        switch = setting.kind == "bool"
        flag = f"{setting.flag}/--no-{setting.flag[2:]}" if switch else f"{setting.flag} {setting.kind.upper()}"
        lines.append(f"  {flag}\n      {setting.help} (takes {setting.describes}; default {shown(setting.default)})")
    return "\n".join(lines)


def shown(value: Any) -> str:
    """A setting's value as it would be typed."""
    if value is None:
        return "auto"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
