"""Strict JSON of requests: no duplicate keys, no NaN."""

from __future__ import annotations

import json
from typing import NoReturn

from snellen.modalities.modality import MalformedJSON


def parse_json(content: bytes | bytearray, form: str) -> object:
    """Parse JSON.

    Args:
        form: what to send, the remedy of an error.
    Raises:
        MalformedJSON: with duplicate keys or NaN too.
    """
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_unique_keys, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedJSON(f"The JSON cannot be parsed: {str(error)[:200]}", form) from error


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entry = dict(pairs)
    if len(entry) != len(pairs):
        raise ValueError("duplicate key in an object")
    return entry


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not strict JSON")
