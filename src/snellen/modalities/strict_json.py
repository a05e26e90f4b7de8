"""Strict JSON of requests: no duplicate keys, no NaN."""

from __future__ import annotations

import json

from snellen.data.formats.table_text import reject_constant, unique_names
from snellen.modalities.modality import MalformedJSON


def parse_json(content: bytes | bytearray, form: str) -> object:
    """Parse JSON.

    Args:
        form: what to send, the remedy of an error.
    Raises:
        MalformedJSON: with duplicate keys or NaN too.
    """
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=unique_names, parse_constant=reject_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedJSON(f"The JSON cannot be parsed: {str(error)[:200]}", form) from error
