"""`snellen serve [RUN]`: a run that answers over HTTP."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from snellen.cli import terminal
from snellen.cli.main import parser
from snellen.cli.options import Own, given_run, seconds, whole


def run(words: Sequence[str], own: Own) -> int:
    given = _parser().parse_args(list(words))

    import torch

    from snellen.serving.description import example
    from snellen.serving.limits import limits
    from snellen.serving.server import bound, is_local, serve, url_of

    address = bound(given.host, given.port)
    with address:
        trained = given_run(given, own)
        chosen = limits(trained.spec.modality, vars(given))
        if "threads" in given:
            torch.set_num_threads(given.threads)

        def ready() -> None:
            url = url_of(address)
            terminal.tell(f"serving {trained.record.learner} on {trained.spec.name} ({trained.record.task}) at {url}")
            terminal.tell(f"ask     curl {example(trained)} {url}predict")
            terminal.tell("stop    Ctrl-C")
            if not is_local(address):
                terminal.say(f"Whoever reaches {url} may ask: there is no password and no encryption.")

        serve(trained, address, chosen, ready)
    return 0


def _parser() -> argparse.ArgumentParser:
    made = parser(
        "serve",
        "Answer over HTTP what RUN (default: the newest) says of pictures or rows: POST /predict. "
        "GET /, /info, /health and /openapi.json tell about it.",
    )
    made.add_argument("run", nargs="?", metavar="RUN", help="a run's folder (default: the newest under runs/)")
    made.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1: this machine)")
    made.add_argument("--port", type=_port, default=8000, help="default 8000; 0: any that is free, which is told")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default auto)")
    made.add_argument("--threads", type=whole(1), metavar="N", help="of the CPU (default: those of the machine)")
    made.add_argument(
        "--batch-size",
        type=whole(1),
        metavar="N",
        help="pictures asked together (default 1: the bits of an answer do not depend on what else is asked)",
    )
    group = made.add_argument_group("limits")
    group.add_argument("--max-bytes", type=whole(1), metavar="N", help="of a request (default 32 MiB; tables 4 MiB)")
    group.add_argument("--max-pixels", type=whole(1), metavar="N", help="of a picture (default 50,000,000)")
    group.add_argument(
        "--max-inputs", type=whole(1), metavar="N", help="pictures or rows of a request (default 64; rows 10,000)"
    )
    group.add_argument("--max-queue", type=whole(1), metavar="N", help="requests that may wait (default 64)")
    group.add_argument("--timeout", type=seconds, metavar="SECONDS", help="until a request is given up (default 30)")
    group.add_argument(
        "--io-timeout", type=seconds, metavar="SECONDS", help="with a client that sends or reads slowly (default 10)"
    )
    group.add_argument("--max-connections", type=whole(1), metavar="N", help="open at one time (default 256)")
    return made


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"takes a number from 0 to 65535, not {text!r}")
    return int(text)
