"""YAML of plain data: strings, numbers, booleans, lists and mappings, in a time that grows with the length of the text.

Without the parts of YAML 1.1 by which a few hundred bytes take hours: merge keys (`<<`), which copy a mapping into
another at every level, and numbers to the base 60 (`1:30`). Without dates, binary data and sets too.
"""

from __future__ import annotations

import functools
import re
from typing import Any, ClassVar

MAX_LENGTH = 1 << 19  # characters; 20,000 names of classes need 400,000
_INT = re.compile(r"[-+]?(?:0b[01_]+|0[0-7_]*|[1-9][0-9_]*|0x[0-9a-fA-F_]+)")
_FLOAT = re.compile(
    r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
    r"|\.(?:nan|NaN|NAN)"
)
_PREFIX = "tag:yaml.org,2002:"


def load(text: str) -> Any:
    """Value of a YAML text.

    Raises:
        yaml.YAMLError: the text is not YAML of plain data.
        ValueError: it is too long. RecursionError: it is nested too deeply.
    """
    import yaml

    if len(text) > MAX_LENGTH:
        raise ValueError(f"it has {len(text):,} characters, more than {MAX_LENGTH:,}")
    return yaml.load(text, _loader())  # a subclass of SafeLoader


@functools.cache
def _loader() -> Any:
    import yaml

    class PlainLoader(yaml.SafeLoader):  # type: ignore[misc, unused-ignore]
        """SafeLoader without merge keys and with few types."""

        yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, Any]]]] = {}

        def flatten_mapping(self, node: Any) -> None:
            if any(key.value == "<<" for key, _ in node.value):
                raise yaml.constructor.ConstructorError(None, None, "merge keys (<<) are not read", node.start_mark)

        def construct_yaml_int(self, node: Any) -> int:
            text = self.construct_scalar(node)
            if not _INT.fullmatch(text) or not -(1 << 63) <= (value := _integer(text)) < 1 << 63:
                raise yaml.constructor.ConstructorError(None, None, "is no integer of 64 bits", node.start_mark)
            return value

        def construct_yaml_float(self, node: Any) -> float:
            text = self.construct_scalar(node)
            if not _FLOAT.fullmatch(text):
                raise yaml.constructor.ConstructorError(None, None, "is no number", node.start_mark)
            return float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan").lower())

    kinds = ("null", "bool", "int", "float", "str", "seq", "map")
    loaders = {kind: getattr(PlainLoader, f"construct_yaml_{kind}") for kind in kinds}
    PlainLoader.yaml_constructors = {
        None: yaml.SafeLoader.construct_undefined,
        **{_PREFIX + kind: loader for kind, loader in loaders.items()},
    }
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items():
        plain = [(tag, regex) for tag, regex in resolvers if tag in (_PREFIX + "null", _PREFIX + "bool")]
        PlainLoader.yaml_implicit_resolvers[first] = plain
    for kind, regex in (("int", _INT), ("float", _FLOAT)):
        PlainLoader.add_implicit_resolver(_PREFIX + kind, re.compile(f"(?:{regex.pattern})$"), list("-+0123456789."))
    return PlainLoader


def _integer(text: str) -> int:
    """Integer of YAML 1.1: a leading 0 is octal. At most 100 digits, so that no conversion is quadratic."""
    digits = text.replace("_", "")[:100]
    bare = digits.lstrip("+-")
    base = 2 if bare.startswith("0b") else 16 if bare.startswith("0x") else 8 if bare.startswith("0") else 10
    return int(digits, base) if bare else 0
