"""`snellen serve [RUN]`: HTTP inference server for a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from snellen.cli import terminal
from snellen.cli.main import make_parser
from snellen.cli.options import CustomLearners, int_at_least, load_run, seconds


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    args = _parser().parse_args(list(arguments))

    import torch

    from snellen.serving.description import curl_arguments
    from snellen.serving.limits import limits
    from snellen.serving.server import bind_socket, is_local, serve, url_of

    address = bind_socket(args.host, args.port)
    with address:
        trained = load_run(args, custom)
        server_limits = limits(trained.spec, vars(args))
        if "threads" in args:
            torch.set_num_threads(args.threads)
            trained.threads = args.threads

        def ready() -> None:
            url = url_of(address)
            terminal.print_text(
                f"serving {trained.record.learner} on {trained.spec.name} ({trained.record.task}) at {url}"
            )
            terminal.print_text(f"example curl {curl_arguments(trained)} {url}predict")
            terminal.print_text("stop    Ctrl-C")
            if not is_local(address):
                terminal.print_message(
                    f"Everyone who can reach {url} can send requests: there is no password and no encryption."
                )

        serve(trained, address, server_limits, ready)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "serve",
        "Serve the predictions of RUN (default: newest) for images or table rows over HTTP: POST /predict. "
        "GET /, /info, /health and /openapi.json describe the server.",
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="Run folder (default: newest under runs/)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="Address to listen on (default 127.0.0.1: this machine only)"
    )
    parser.add_argument(
        "--port", type=_port, default=8000, help="Port, 0 to 65535; 0: a free port, printed at start (default 8000)"
    )
    parser.add_argument("--device", default="auto", help="Device: auto, cpu, cuda or mps (default auto)")
    parser.add_argument(
        "--threads",
        type=int_at_least(1),
        metavar="N",
        help="Number of CPU threads, at least 1 (default: one for little work, else set by PyTorch)",
    )
    parser.add_argument(
        "--batch-size",
        type=int_at_least(1),
        metavar="N",
        help="Batch size: images per forward pass (default 1: responses do not depend on other requests)",
    )
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--max-bytes",
        type=int_at_least(1),
        metavar="N",
        help="Maximum size of a request body in bytes (default 33554432; tables 4194304)",
    )
    group.add_argument(
        "--max-pixels", type=int_at_least(1), metavar="N", help="Maximum pixels of an image (default 50,000,000)"
    )
    group.add_argument(
        "--max-inputs",
        type=int_at_least(1),
        metavar="N",
        help="Maximum images or rows per request (default 64 images or 10,000 rows)",
    )
    group.add_argument(
        "--max-queue", type=int_at_least(1), metavar="N", help="Maximum requests in the queue (default 64)"
    )
    group.add_argument(
        "--timeout", type=seconds, metavar="SECONDS", help="Timeout of a prediction in seconds (default 30)"
    )
    group.add_argument(
        "--io-timeout",
        type=seconds,
        metavar="SECONDS",
        help="Timeout for a slow client to send a request or read a response, in seconds (default 10)",
    )
    group.add_argument(
        "--max-connections", type=int_at_least(1), metavar="N", help="Maximum simultaneous connections (default 256)"
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, not {text!r}")
    return int(text)
