"""Time limit of learners that cannot be stopped: checked before the work begins."""

from __future__ import annotations

from snellen.core.errors import TooLittleTime
from snellen.core.run import Run


def require_time(run: Run, seconds: float, work: str, remedy: str) -> None:
    """Check that `seconds` are left.

    Args:
        work: what takes the time, such as "300 iterations".
    Raises:
        TooLittleTime: if not, with the seconds that the run needs.
    """
    if run.seconds_left is None or seconds <= run.seconds_left:
        return
    raise TooLittleTime(
        f"{work} take {seconds:.0f} s, more than the time budget allows",
        remedy,
        needed=(run.seconds or 0.0) - run.seconds_left + seconds,
    )
