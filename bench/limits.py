"""Hardware limit: the fastest matrix product of the machine, measured with the peers."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness import Options, Output, Round


def matrix_products(flops: float) -> Callable[[Options], Round]:
    """Seconds for `flops` floating-point operations at the rate of the fastest matrix product."""

    def make(options: Options) -> Round:
        import torch

        torch.set_num_threads(options.threads)
        a, b = torch.randn(1024, 1024, device=options.device), torch.randn(1024, 1024, device=options.device)
        products = [lambda: a @ b]
        if options.device == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
            products.append(lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], ""))

        def run_round() -> Callable[[], Output]:
            best = float("inf")
            for product in products:
                for _ in range(8):
                    started = time.perf_counter()
                    product()
                    if options.device == "cuda":
                        torch.cuda.synchronize()
                    best = min(best, time.perf_counter() - started)
            rate = 2 * 1024**3 / best
            return lambda: {"seconds": flops / rate, "GFLOP/s": rate / 1e9}

        return run_round

    return make
