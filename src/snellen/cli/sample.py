"""`snellen sample [RUN] --count 64 --out FILE`: new samples of a generator, written to one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snellen.cli import terminal
from snellen.cli.main import make_parser
from snellen.cli.options import CustomLearners, int_at_least, load_run
from snellen.core.errors import UsageError


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    parser = make_parser(
        "sample", "Draw new samples from RUN (default: newest), a model of --task generate, and write them to a file."
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="Run folder (default: newest under runs/)")
    parser.add_argument(
        "--count", type=int_at_least(1), default=64, metavar="N", help="Number of samples, at least 1 (default 64)"
    )
    parser.add_argument(
        "--seed", type=int_at_least(0), default=0, help="Random seed of the samples (default 0); the same give the same"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="Output file, overwritten if it exists: .png, a grid of images; .csv, a table of rows; .npz, arrays "
        "(default: samples.png, .csv or .npz in the run folder, never overwritten)",
    )
    parser.add_argument("--device", default="auto", help="Device: auto, cpu, cuda or mps (default auto)")
    args = parser.parse_args(list(arguments))
    trained = load_run(args, custom)

    from snellen.core import file_io
    from snellen.modalities import modality_of

    writers = modality_of(trained.spec).sample_writers
    out = vars(args).get("out")
    if out is None:
        file_io.reject_links(trained.folder)
        path = trained.folder / f"samples{next(iter(writers))}"
        if path.exists():
            raise UsageError(f"{path} exists already", f"Give --out {path} to overwrite it.")
    else:
        path = Path(out)
    if path.suffix.lower() not in writers:
        raise UsageError(
            f"{path} does not end in {' or '.join(writers)}: the samples are {modality_of(trained.spec).noun}",
            f"Use such a suffix: --out samples{next(iter(writers))}.",
        )
    if path.is_dir():
        raise UsageError(f"{path} is a folder", f"Give a file: --out {path / f'samples{path.suffix}'}.")
    writers[path.suffix.lower()](path, trained.sample(args.count, args.seed), trained.spec.input)
    terminal.print_text(str(path))
    return 0
