"""What the machine can do at most, measured beside the peers."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness import Options, Output, Round


def products(flops: float) -> Callable[[Options], Round]:
    """The seconds that `flops` floating-point operations take at the fastest matrix product found here."""

    def make(options: Options) -> Round:
        import torch

        torch.set_num_threads(options.threads)
        a, b = torch.randn(1024, 1024, device=options.device), torch.randn(1024, 1024, device=options.device)
        ways = [lambda: a @ b]
        if options.device == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
            ways.append(lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], ""))

        def once() -> Callable[[], Output]:
            best = float("inf")
            for way in ways:
                for _ in range(8):
                    started = time.perf_counter()
                    way()
                    if options.device == "cuda":
                        torch.cuda.synchronize()
                    best = min(best, time.perf_counter() - started)
            rate = 2 * 1024**3 / best
            return lambda: {"seconds": flops / rate, "GFLOP/s": rate / 1e9}

        return once

    return make
