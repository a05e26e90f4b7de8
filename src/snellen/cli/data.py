"""`snellen data DATA`: the check alone."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.cli import terminal
from snellen.cli.main import parser
from snellen.cli.options import Own, add_data, open_data, whole

COUNTED = {"Boxes": "training objects", "PixelClasses": "training pixels"}  # where not samples have a class
SHOWN = 8  # places of a finding, before those that only --json tells


def run(words: Sequence[str], own: Own) -> int:
    made = parser("data", "Check DATA: what it is taken for, counts, shapes, and what is wrong with it.")
    made.add_argument("data", metavar="DATA", help="a folder, a file, or a name (see snellen list data)")
    made.add_argument("--full", action="store_true", help="read every content now, not only names and headers")
    made.add_argument("--seed", type=whole(0), help="of the splits (default 0)")
    made.add_argument("--format", choices=terminal.FORMATS, default="text", help="of the tables (default text)")
    made.add_argument("--json", action="store_true", help="print one JSON object")
    add_data(made)
    given = made.parse_args(list(words))
    data = open_data(given)
    from snellen.core.serialization import to_plain

    if "json" in given:
        terminal.line(
            {
                "taken_for": data.recognised_as,
                "spec": to_plain(data.spec),
                "files": dict(data.files),
                "findings": [to_plain(finding) for finding in data.findings],
            }
        )
        return 0
    terminal.tell(f"{given.data}: {data.recognised_as}")
    spec = data.spec
    for name, one in spec.inputs.items():
        shape = " x ".join("any" if side is None else str(side) for side in one.shape)
        typical_size = (
            f" (usually {one.size[0]} x {one.size[1]})" if one.typical_size is not None and one.size is not None else ""
        )
        terminal.tell(f"input {name}: {one.modality}, {shape}{typical_size}, {one.dtype}")
    if data.files:
        terminal.tell("files: " + ", ".join(f"{count:,} {what}" for what, count in data.files.items()))
    names = getattr(spec.target, "names", ())
    counts = getattr(spec.target, "counts", ())
    terminal.tell("\n" + terminal.table(["split", "samples"], [[s, n] for s, n in spec.sizes.items()], given.format))
    if counts:
        rows = [[name, count] for name, count in zip(names, counts, strict=True)]
        counted = COUNTED.get(type(spec.target).__name__, "training samples")
        terminal.tell("\n" + terminal.table(["class", counted], rows, given.format))
    elif names:
        terminal.tell(f"\ntargets: {', '.join(names)}")
    for finding in data.findings:
        terminal.tell(f"\n{finding.severity}: {finding.message}")
        if shown := finding.unsaid(SHOWN):
            more = f" and {finding.count - len(shown):,} more (all with --json)" if finding.count > len(shown) else ""
            terminal.tell("  " + ", ".join(shown) + more)
        if finding.remedy:
            terminal.tell(f"  {finding.remedy}")
    if not data.findings:
        terminal.tell("\nNothing to object to.")
    return 0
