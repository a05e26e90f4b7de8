"""libsvm: its cache, and a thread in which it can be interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable

CACHE_MB = 500  # kernel cache of libsvm


def run_in_thread(work: Callable[[], object]) -> None:
    """Run `work` in a daemon thread, so that Ctrl-C is handled here: libsvm ignores it."""
    failures: list[BaseException] = []

    def target() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.5)  # seconds until a pending signal is handled
    if failures:
        raise failures[0]
