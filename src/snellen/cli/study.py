"""`snellen study DATA --vary KEY=A,B`: settings varied, one fair table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from snellen.cli import terminal
from snellen.cli.main import STARTED, parser
from snellen.cli.options import Own, add_data, add_machine, all_settings, open_data, run_options, take_settings, whole
from snellen.core.errors import UsageError, nearest


def run(words: Sequence[str], own: Own) -> int:
    made = parser(
        "study",
        "Train every cell of a grid, or search a range, with the same seeds and splits for all: "
        "means with intervals, what matters, and the best on validation. Any setting of the learner "
        "may be fixed: --epochs 3.",
    )
    made.add_argument("data", metavar="DATA", help="a folder, a file, or a name (see snellen list data)")
    made.add_argument(
        "--vary",
        action="append",
        metavar="KEY=A,B|LOW..HIGH",
        help="a setting and its values, or its range (then it is searched); several may be given; "
        "model=A,B varies the learner; 60,60+60 are two values of a setting of several numbers",
    )
    made.add_argument("--model", metavar="NAME", help="the learner (default: what suits the data)")
    made.add_argument("--seeds", type=whole(1), metavar="N", help="trainings of each cell, seeds 0 ... N-1 (default 5)")
    made.add_argument("--folds", type=whole(2), metavar="K", help="cross-validate each cell, in place of seeds")
    made.add_argument("--trials", type=whole(1), metavar="N", help="cells of a search (default 20)")
    made.add_argument("--budget", metavar="TIME", help="no training is begun that does not fit: 90s, 10m, 1h")
    made.add_argument("--out", metavar="FOLDER", help="the study's folder; an unfinished study there is gone on with")
    made.add_argument("--format", choices=terminal.FORMATS, default="text", help="of the tables (default text)")
    made.add_argument("--json", action="store_true", help="print one JSON line a training, and one a cell")
    add_data(made)
    add_machine(made)
    known = all_settings(own)
    typed, rest = take_settings(words, known)
    given, unknown = made.parse_known_args(rest)
    flags = [flag for action in made._actions for flag in action.option_strings if flag.startswith("--")]
    if unknown:
        raise UsageError(
            f"snellen study does not know {unknown[0]}",
            nearest(unknown[0], [*flags, *(setting.flag for setting in known.values())]),
        )
    if "seeds" in given and "folds" in given:
        raise UsageError("--folds takes the place of --seeds", "Give one of them.")
    vary = varied(vars(given).get("vary", []), typed, vars(given).get("model"), own)
    try:
        budget = terminal.seconds(given.budget) if "budget" in given else None
    except ValueError:
        raise UsageError(f"--budget cannot be {given.budget!r}", "Give a time such as 90s, 10m or 1h30m.") from None

    from snellen.core.serialization import to_plain
    from snellen.model_selection.study import study
    from snellen.model_selection.study_results import caption, effects, means, written

    progress = terminal.ProgressBar(quiet="json" in given)
    try:
        data = open_data(given)
        progress.say(f"{given.data}: {data.recognised_as}")
        for finding in data.findings:
            progress.say(f"{finding.severity}: {finding.message} {finding.remedy}".rstrip())
        if budget is not None:
            budget = max(budget - (time.monotonic() - STARTED), 0.5 * budget)  # starting and reading count too
        found = study(
            data,
            vary,
            seeds=vars(given).get("seeds", 5),
            folds=vars(given).get("folds"),
            trials=vars(given).get("trials", 20),
            out=vars(given).get("out"),
            options=run_options(given, progress=progress, seconds=budget),
        )
    finally:
        progress.end()
    if "json" in given:
        for row in found.rows:
            values = to_plain(row.cell.values)
            for training in row.trainings:
                terminal.line({"values": values, **to_plain(training)})
            terminal.line(
                {
                    "values": values,
                    "cell": row.cell.number,
                    "chosen": row.cell.number == found.chosen,
                    "validation": to_plain(row.validation),
                    "test": to_plain(row.test),
                }
            )
        return 0
    if given.format != "text":
        terminal.tell(written(found, given.format))
        return 0
    terminal.tell(terminal.table(*means(found)))
    if found.importance:
        terminal.tell("\n" + terminal.table(*effects(found)))
    terminal.tell(
        f"\n{found.verdict}\n\n{caption(found)}\n\n"
        f"study: {found.folder} (study.csv, study.md, study.tex have each training)\n"
        f"page:  {found.folder / 'report.html'}"
    )
    return 0


def varied(pairs: Sequence[str], typed: dict[str, str], model: str | None, own: Own) -> dict[str, Any]:
    """What --vary, --model and fixed settings say together, as `snellen.study` takes it."""
    ours = {learner.name: learner for learner in own}
    vary: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.lstrip("-").replace("-", "_")
        if not equals or not name:
            raise UsageError(f"--vary cannot be {pair!r}", "Write for example --vary lr=0.001,0.01")
        if name in vary:
            raise UsageError(f"--vary {name} is given twice", "List its values: --vary NAME=A,B.")
        vary[name] = text
    for name, text in typed.items():
        if name in vary:
            raise UsageError(f"{name} is both varied and fixed", f"Leave one out: --vary {name}=..., --{name} ...")
        vary[name] = text.replace(",", "+")  # one value, even where it is of several numbers
    if model is not None and "model" in vary:
        raise UsageError("The model is both varied and fixed", "Leave --model out, or --vary model=...")
    names = vary.get("model", model)
    if names is not None:
        vary["model"] = [ours.get(name, name) for name in names.split(",") if name]
    return vary
