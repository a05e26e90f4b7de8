"""`snellen export [RUN] --to onnx|torch`: export the model to a file that runs without Snellen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from snellen.cli import terminal
from snellen.cli.main import make_parser
from snellen.cli.options import CustomLearners, load_run


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    parser = make_parser(
        "export",
        "Export the model of RUN (default: newest), preprocessing included, to one file that runs without Snellen. "
        "Fails if the outputs of the file and the run differ.",
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="Run folder (default: newest under runs/)")
    parser.add_argument(
        "--to", choices=["onnx", "torch"], required=True, help="Export format: ONNX, or a torch.export program"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="Output file, overwritten if it exists "
        "(default: model.onnx or model.pt2 in the run folder, never overwritten)",
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object")
    parser.set_defaults(device="cpu")
    args = parser.parse_args(list(arguments))
    exported = load_run(args, custom).export_model(args.to, vars(args).get("out"))
    if "json" in args:
        terminal.print_json({"file": str(exported.path), **exported.metadata})
        return 0
    for name, text in [("file", str(exported.path)), *_description_lines(exported.metadata)]:
        terminal.print_text(f"{name:<9}{text}")
    return 0


def _description_lines(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lines of name and text from the metadata of the exported file."""
    input_info, parity = metadata["input"], metadata["parity"]
    text = f"{input_info['name']}: {input_info['dtype']} ({', '.join(map(str, input_info['shape']))})"
    if "range" in input_info:
        low, high = input_info["range"]
        text += f", values {low:g} … {high:g}"
    if "reading" in input_info:
        text += f", resized {input_info['reading']['resample']}" if input_info["reading"]["size"] else ""
    lines = [
        ("model", f"{metadata['learner']} on {metadata['data']} ({metadata['task']}), snellen {metadata['snellen']}"),
        ("sha256", f"{metadata['sha256']} (weights)"),
        ("input", text),
    ]
    if "columns" in input_info:
        lines.append(("columns", ", ".join(column["name"] for column in input_info["columns"])))
    for output in metadata["outputs"]:
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
        lines.append(
            (
                "",
                f"{parity['finds']} identical detections, {parity['ties']} that rounding selects (at most "
                f"{parity['tie displacement']:.3g} pixels away); {parity['pictures without finds']} "
                "images without detections",
            )
        )
    for name, largest in parity["absolute"].items():
        allowed = parity["allowed"]
        lines.append(
            (
                "",
                f"{name} differ by at most {largest:.2g}, {parity['relative'][name]:.2g} of the output scale "
                f"({allowed[name] if isinstance(allowed, dict) else allowed:g} allowed)",
            )
        )
    return lines
