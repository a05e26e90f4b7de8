"""Request limits of the server, which bound its memory and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from snellen.core.errors import UsageError
from snellen.core.spec import Spec
from snellen.modalities import modality_of

MIN_RATE = 64 << 10  # bytes per second a client must send or receive once the I/O timeout is over
MAX_BODIES = 8  # bodies of the maximum size in memory at one time


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Request limits.

    Args:
        max_bytes: bytes of a request body.
        max_pixels: pixels of an image; checked before decoding.
        max_inputs: images or table rows per request.
        max_queue: requests in the inference queue; a further one gets status 429.
        timeout: seconds from a complete request to its response; after that status 503.
        io_timeout: seconds a client may take for the request head, and for body and response beyond the time that
            they take at 64 KiB/s; then the connection is closed.
        max_connections: connections open at the same time.
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
        for name, minimum in (
            ("max_bytes", 1),
            ("max_pixels", 1),
            ("max_inputs", 1),
            ("max_queue", 1),
            ("max_connections", 1),
            ("batch_size", 1),
            ("timeout", 0.001),
            ("io_timeout", 0.001),
        ):
            if not getattr(self, name) >= minimum:
                raise UsageError(
                    f"{name.replace('_', ' ')} cannot be {getattr(self, name)}", f"Give at least {minimum}."
                )


def limits(spec: Spec, options: Mapping[str, Any]) -> Limits:
    """The limits from command-line options, with the defaults of the modality for the rest.

    Raises:
        UsageError: for inputs that requests cannot hold.
    """
    modality = modality_of(spec)
    if not modality.content_types:
        inputs = " and ".join(spec.inputs)
        raise UsageError(f"Requests cannot hold the inputs of this model: {inputs}", "Use snellen predict RUN FILE...")
    defaults = modality.upload_defaults
    known = {field.name for field in fields(Limits)}
    return Limits(**{**defaults, **{name: value for name, value in options.items() if name in known}})
