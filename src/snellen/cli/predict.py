"""`snellen predict [RUN] WHAT...`: what a run says of files, folders, globs, tables, or of standard input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snellen.cli import terminal
from snellen.cli.main import parser
from snellen.cli.options import Own, given_run
from snellen.core.errors import UsageError


def run(words: Sequence[str], own: Own) -> int:
    made = parser("predict", "What RUN (default: the newest) says of files, folders, globs and tables.")
    made.add_argument(
        "what",
        nargs="+",
        metavar="WHAT",
        help="[RUN] and what to predict; - reads paths, one a line, or the table itself where the model reads tables",
    )
    made.add_argument("--csv", action="store_true", help="a table instead of JSON lines")
    made.add_argument("--draw", metavar="FOLDER", help="write each picture there with its answer on it")
    made.add_argument(
        "--coco", metavar="FILE", help="write all that was found, below the threshold too, as COCO's results"
    )
    made.add_argument(
        "--coco-annotations",
        metavar="FILE",
        help="an annotation file of COCO's: --coco numbers pictures and "
        "classes as it does (default: as the run's data)",
    )
    made.add_argument(
        "--maps", metavar="FOLDER", help="write the map of each picture there: classes as an index PNG, numbers as NPY"
    )
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default auto)")
    given = made.parse_args(list(words))
    if (Path(given.what[0]) / "run.json").exists():
        given.run = given.what.pop(0)
    if not given.what:
        raise UsageError("snellen predict needs something to predict", f"snellen predict {given.run} FILE...")
    if "like" in given and "coco" not in given:
        raise UsageError("--like is for the numbers that --coco writes", "Give --coco FILE too, or leave --like out.")
    trained = given_run(given, own)

    from snellen.data.source import BadSamples

    progress = terminal.ProgressBar()
    begun = False
    try:
        for record in trained.answers(
            given.what,
            draw=vars(given).get("draw"),
            progress=progress,
            coco=vars(given).get("coco"),
            maps=vars(given).get("maps"),
            coco_annotations=vars(given).get("coco_annotations"),
        ):
            if "csv" not in given:
                terminal.line(record)
                continue
            for row in _rows(record):  # every answer of a model has the same keys
                if not begun:
                    print(terminal.csv_row(list(row)))
                begun = True
                print(terminal.csv_row([str(value) for value in row.values()]))
    except BadSamples as error:
        if len(error.problems) > 5:  # more than the error itself names
            for id, problem in error.problems.items():
                terminal.say(f"{error.names[id]}: {problem}")
        raise
    return 0


def _rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for an answer; where it is a list of objects, a row for each of them."""
    if "objects" not in record:
        return [_flat(record)]
    name = {key: value for key, value in record.items() if key != "objects"}
    return [{**name, **_of_object(one)} for one in record["objects"]]


def _of_object(one: dict[str, Any]) -> dict[str, Any]:
    """Class, score, the corners of the box, the mask in COCO's short form, and three numbers of each keypoint."""
    row = {"class": one["class"], "score": one["score"], **dict(zip(("x1", "y1", "x2", "y2"), one["box"], strict=True))}
    if "mask" in one:
        row |= {"height": one["mask"]["size"][0], "width": one["mask"]["size"][1], "mask": one["mask"]["counts"]}
    for place, point in enumerate(one.get("keypoints", ())):
        row |= {f"{word}[{place}]": number for word, number in zip(("x", "y", "sure"), point, strict=True)}
    return row


def _flat(record: dict[str, Any], before: str = "") -> dict[str, Any]:
    """A nested answer as one row: probabilities become columns of their own. Masks and maps are no figures."""
    row: dict[str, Any] = {}
    for key, value in record.items():
        name = f"{before}[{key}]" if before else key
        if isinstance(value, dict):
            row.update(_flat(value, name) if key not in ("segments", "map") else {})
        else:
            row[name] = ";".join(map(str, value)) if isinstance(value, list) else value
    return row
