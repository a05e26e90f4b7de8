"""`snellen export [RUN] --to onnx|torch`: the model as one file that works without Snellen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from snellen.cli import terminal
from snellen.cli.main import parser
from snellen.cli.options import Own, given_run


def run(words: Sequence[str], own: Own) -> int:
    made = parser(
        "export",
        "Write the model of RUN (default: the newest) as one file that works without Snellen, "
        "preprocessing inside. It is compared with the run and refused where they differ.",
    )
    made.add_argument("run", nargs="?", metavar="RUN", help="a run's folder (default: the newest under runs/)")
    made.add_argument("--to", choices=["onnx", "torch"], required=True, help="ONNX, or a program of torch.export")
    made.add_argument(
        "--out",
        metavar="FILE",
        help="written over if it is there (default: model.onnx or model.pt2 in the run's folder, never written over)",
    )
    made.add_argument("--json", action="store_true", help="print one JSON object")
    made.set_defaults(device="cpu")
    given = made.parse_args(list(words))
    published = given_run(given, own).publish(given.to, vars(given).get("out"))
    if "json" in given:
        terminal.line({"file": str(published.path), **published.about})
        return 0
    for name, text in [("file", str(published.path)), *_told(published.about)]:
        terminal.tell(f"{name:<9}{text}")
    return 0


def _told(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What stands in the file about itself, in lines."""
    given, parity = about["input"], about["parity"]
    text = f"{given['name']}: {given['dtype']} ({', '.join(map(str, given['shape']))})"
    if "range" in given:
        low, high = given["range"]
        text += f", values {low:g} … {high:g}"
    if "reading" in given:
        text += f", resized {given['reading']['resample']}" if given["reading"]["size"] else ""
    lines = [
        ("model", f"{about['learner']} on {about['data']} ({about['task']}), snellen {about['snellen']}"),
        ("sha256", f"{about['sha256']} of its weights"),
        ("input", text),
    ]
    if "columns" in given:
        lines.append(("columns", ", ".join(column["name"] for column in given["columns"])))
    for output in about["outputs"]:
        units = output.get("units", [""] * len(output["columns"]))
        columns = ", ".join(f"{c} [{u}]" if u else c for c, u in zip(output["columns"], units, strict=True))
        shape = ", ".join(map(str, output.get("shape", ["batch", len(units)])))
        lines.append(("output", f"{output['name']}: {output['dtype']} ({shape}): {columns}"))
    batches = ", ".join(map(str, parity["batches"]))
    if "sizes" in parity:
        pairs = zip(parity["batches"], parity["sizes"], strict=True)
        batches = ", ".join(f"{count} of {width}x{height}" for count, (height, width) in pairs)
    lines.append(("parity", f"{parity['inputs']} inputs, {parity['from']}, in batches of {batches}"))
    if "finds" in parity:
        lines.append(("", f"the same {parity['finds']} finds, none in {parity['pictures without finds']} of them"))
    for name, largest in parity["absolute"].items():
        allowed = parity["allowed"]
        lines.append(
            (
                "",
                f"{name} differ by at most {largest:.2g}, {parity['relative'][name]:.2g} of their scale "
                f"({allowed[name] if isinstance(allowed, dict) else allowed:g} allowed)",
            )
        )
    return lines
