"""What a server takes on. Whatever is beyond is refused with its reason, so that memory and time stay bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from snellen.core.errors import UsageError
from snellen.core.spec import Modality

SLOWEST = 64 << 10  # bytes a second that a client must keep to once its patience is over, either way
BODIES = 8  # of the largest size, that are held at one time


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a server takes on.

    Args:
        max_bytes: of the body of a request.
        max_pixels: of a picture; checked before it is decoded.
        max_inputs: pictures or rows of a request.
        max_queue: requests that wait for the model; one more is sent away (429).
        timeout: seconds until a request that was received whole is given up (503).
        io_timeout: seconds that a client may take for the head of a request, and for body and response beyond what
            64 KiB/s allow; then the connection is closed.
        max_connections: that are open at one time.
        batch_size: images in one forward pass. Above 1, the last bits of a prediction may depend on the batch.
    """

    max_bytes: int = 32 << 20
    max_pixels: int = 50_000_000
    max_inputs: int = 64
    max_queue: int = 64
    timeout: float = 30.0
    io_timeout: float = 10.0
    max_connections: int = 256
    batch_size: int = 1

    def __post_init__(self) -> None:
        for name, least in (
            ("max_bytes", 1),
            ("max_pixels", 1),
            ("max_inputs", 1),
            ("max_queue", 1),
            ("max_connections", 1),
            ("batch_size", 1),
            ("timeout", 0.001),
            ("io_timeout", 0.001),
        ):
            if not getattr(self, name) >= least:
                raise UsageError(f"{name.replace('_', ' ')} cannot be {getattr(self, name)}", f"Give at least {least}.")


def limits(modality: Modality, given: Mapping[str, Any]) -> Limits:
    """The limits that were given, and the usual ones for the rest.

    Those of tables are smaller: a table becomes some forty times larger in memory than its text.
    """
    usual = {} if modality == "image" else {"max_bytes": 4 << 20, "max_inputs": 10_000}
    known = {field.name for field in fields(Limits)}
    return Limits(**{**usual, **{name: value for name, value in given.items() if name in known}})
