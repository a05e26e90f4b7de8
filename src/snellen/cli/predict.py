"""`snellen predict [RUN] INPUT...`: predictions for files, folders, globs, tables, or standard input."""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snellen.cli import terminal
from snellen.cli.main import make_parser
from snellen.cli.options import CustomLearners, load_run
from snellen.core.errors import DataError, UsageError, similar_names

if TYPE_CHECKING:
    from snellen.api import TrainedRun


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    parser = make_parser("predict", "Predict files, folders, globs or tables with RUN (default: newest).")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="Files, folders, globs or tables; -: paths, a table, or the steps of a sequence, one on a line, from "
        "standard input; a first argument that is a run folder is RUN",
    )
    parser.add_argument("--csv", action="store_true", help="Print a CSV table instead of JSON lines")
    parser.add_argument(
        "--draw", metavar="FOLDER", help="Output folder of the images with their predictions drawn on them"
    )
    parser.add_argument(
        "--coco",
        metavar="FILE",
        help="Output file of all detections, including those below the score threshold, in COCO results format",
    )
    parser.add_argument(
        "--coco-annotations",
        metavar="FILE",
        help="COCO annotation file whose image and category ids --coco uses (default: those of the run's data)",
    )
    parser.add_argument(
        "--maps",
        metavar="FOLDER",
        help="Output folder of dense predictions: class maps of images as indexed PNG, others and number maps as NPY",
    )
    parser.add_argument("--device", default="auto", help="Device: auto, cpu, cuda or mps (default auto)")
    args = parser.parse_args(list(arguments))
    if any((Path(args.inputs[0]) / name).exists() for name in ("run.json", "ladder.json")):
        args.run = args.inputs.pop(0)
    elif _is_missing(args.inputs[0]):
        raise DataError(f"{args.inputs[0]} is neither a run nor data", _near_paths(args.inputs[0]))
    if not args.inputs:
        raise UsageError("snellen predict needs inputs", f"Use snellen predict {args.run} FILE...")
    if "coco_annotations" in args and "coco" not in args:
        raise UsageError("--coco-annotations needs --coco", "Add --coco FILE, or omit --coco-annotations.")
    trained = load_run(args, custom)

    if args.inputs == ["-"] and not vars(args).keys() & {"draw", "coco", "maps"} and _is_stream(trained):
        return _predict_lines(trained, as_csv="csv" in args)
    from snellen.data.source import BadSamples

    progress = terminal.ProgressBar()
    has_header = False
    try:
        for record in trained.predict_files(
            args.inputs,
            draw=vars(args).get("draw"),
            progress=progress,
            coco=vars(args).get("coco"),
            maps=vars(args).get("maps"),
            coco_annotations=vars(args).get("coco_annotations"),
        ):
            if "csv" not in args:
                terminal.print_json(record)
                continue
            for row in _csv_rows(record):  # all records of a model have the same keys
                if not has_header:
                    print(terminal.csv_row(list(row)))
                has_header = True
                print(terminal.csv_row([str(value) for value in row.values()]))
    except BadSamples as error:
        if len(error.problems) > 5:  # the error itself names five
            for id, problem in error.problems.items():
                terminal.print_message(f"{error.names[id]}: {problem}")
        raise
    return 0


def _is_stream(trained: TrainedRun) -> bool:
    """Whether standard input holds the steps of sequences, not paths, one on a line."""
    from snellen.modalities import modality_of

    if modality_of(trained.spec).read_steps is None:
        return False
    if not isinstance(sys.stdin.buffer, io.BufferedReader):
        return False
    first = sys.stdin.buffer.peek().lstrip().partition(b"\n")[0].decode("utf-8", "replace").strip()
    return first[:1] in ("", "[", "{") or (not os.path.lexists(os.path.expanduser(first)) and not glob.has_magic(first))


def _predict_lines(trained: TrainedRun, as_csv: bool) -> int:
    """Print the prediction after each line of standard input at once."""
    from snellen.api.streaming import predict_lines

    has_header = False
    for record in predict_lines(trained, sys.stdin):
        if not as_csv:
            terminal.print_json(record)
        else:
            row = _flatten_record(record)
            if not has_header:
                print(terminal.csv_row(list(row)))
            has_header = True
            print(terminal.csv_row([str(value) for value in row.values()]))
        sys.stdout.flush()
    return 0


def _is_missing(word: str) -> bool:
    """Whether an argument is no path, no glob, and not standard input."""
    return word != "-" and not glob.has_magic(word) and not os.path.lexists(Path(word).expanduser())


def _near_paths(word: str) -> str:
    """Remedy for a path that does not exist: the most similar paths in its folder, or the runs in runs/."""
    path = Path(word).expanduser()
    beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    runs = [record.parent for record in sorted(Path("runs").glob("*/run.json"))]
    by_name = {other.name: other for other in (*runs, *beside)}
    similar = [str(by_name[name]) for name in similar_names(path.name, list(by_name))]
    if similar:
        return f"Did you mean {' or '.join(similar)}?"
    return "Use snellen predict RUN FILE..., with files, folders, globs, or - for standard input."


def _csv_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """CSV rows of a record: one per detection, one per step of a forecast, else one."""
    if isinstance(record.get("warnings"), list):  # not in every record; a line after all predictions counts them
        record = {key: value for key, value in record.items() if key != "warnings"}
    if isinstance(record.get("forecast"), dict):
        return _step_rows(record)
    if "objects" not in record:
        return [_flatten_record(record)]
    name = {key: value for key, value in record.items() if key != "objects"}
    return [{**name, **_detection_row(detection)} for detection in record["objects"]]


def _step_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each step of a forecast: the input, the step, its time if known, and what is forecast for it."""
    steps = len(next(iter(record["forecast"].values())))
    name = next(iter(record))
    rest = {key: value for key, value in record.items() if key not in (name, "time")}
    rows: list[dict[str, Any]] = []
    for k in range(steps):
        row = {name: record[name], "step": k + 1, **({"time": record["time"][k]} if "time" in record else {})}
        rows.append({**row, **_flatten_record(_at_step(rest, k, steps))})
    return rows


def _at_step(value: Any, step: int, steps: int) -> Any:
    """A nested record with the value at one step in place of each list of all steps."""
    if isinstance(value, dict):
        return {key: _at_step(inner, step, steps) for key, inner in value.items()}
    return value[step] if isinstance(value, list) and len(value) == steps else value


def _detection_row(detection: dict[str, Any]) -> dict[str, Any]:
    """CSV row of a detection: class, score, box corners, mask as COCO RLE, x, y and score of each keypoint."""
    row = {
        "class": detection["class"],
        "score": detection["score"],
        **dict(zip(("x1", "y1", "x2", "y2"), detection["box"], strict=True)),
    }
    if "mask" in detection:
        row |= {
            "height": detection["mask"]["size"][0],
            "width": detection["mask"]["size"][1],
            "mask": detection["mask"]["counts"],
        }
    for index, point in enumerate(detection.get("keypoints", ())):
        row |= {f"{axis}[{index}]": number for axis, number in zip(("x", "y", "sure"), point, strict=True)}
    return row


def _flatten_record(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a nested record to one row: one column per probability, without masks and maps."""
    row: dict[str, Any] = {}
    for key, value in record.items():
        name = f"{prefix}[{key}]" if prefix else key
        if isinstance(value, dict):
            row.update(_flatten_record(value, name) if key not in ("segments", "map") else {})
        else:
            row[name] = ";".join(map(str, value)) if isinstance(value, list) else value
    return row
